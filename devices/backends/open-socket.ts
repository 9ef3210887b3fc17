/**
 * Opens the sockets of backends, once for their life. Errors are one line that begins with `option`
 * and names the path.
 */
import { resolve } from 'node:path';

import { SysError } from '../../platform/errno.ts';
import { setNonBlocking } from '../../platform/libc/fd.ts';
import { checkLength } from '../../platform/socket-folder.ts';
import { openDatagram } from '../../platform/unix-datagram.ts';
import { listenUnix } from '../../platform/unix-listener.ts';
import type { SocketEnd } from './chardev-option.ts';
import type { DatagramDescription } from './datagram-port.ts';
import type { ListenerDescription } from './socket-stream.ts';

/** The ends of a wire of datagrams. */
export interface DatagramEnds {
  readonly local: string;
  readonly remote: string;
}

/** Errors of openDatagram; nobody need be at `remote` yet. */
export const openWire = ({ local, remote }: DatagramEnds, option: string): DatagramDescription =>
  ofOption(option, () => {
    checkLength(remote);
    return { fd: openDatagram(local), local, remote };
  });

/**
 * Of a server, listens; errors of listenUnix. Of a client, ENAMETOOLONG: it connects later, and
 * nobody ever could connect to a path that is too long.
 */
export function openEnd({ path, server, reconnectMs }: SocketEnd, option: string): ListenerDescription {
  return ofOption(option, () => {
    if (!server) {
      const whole = resolve(path);
      checkLength(whole);
      return { fd: null, path: whole, reconnectMs };
    }
    const fd = listenUnix(path);
    setNonBlocking(fd);
    return { fd, path, reconnectMs };
  });
}

function ofOption<T>(option: string, open: () => T): T {
  try {
    return open();
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    throw new SysError(error.code, `${option}: ${error.message}`);
  }
}
