/** The fd behind a socket of Node's. Node has no public name for it. */
import type { Server, Socket } from 'node:net';

/** The fd under a server or a connection. The fd stays theirs; undefined once they are closed. */
export function handleFd(owner: Server | Socket): number | undefined {
  const { _handle: handle } = owner as unknown as { _handle: { fd: number } | null };
  return handle && handle.fd >= 0 ? handle.fd : undefined;
}
