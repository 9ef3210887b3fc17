/**
 * The destination of cpr-transfer: a VMM that its user has started. It listens on the sockets of
 * both channels until another VMM connects, and then is a standby like one that a VMM has started
 * itself.
 */
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';

import { handleFd } from '../../../platform/handle-fd.ts';
import { dupCloexec, setBlocking } from '../../../platform/libc/fd.ts';
import { peerCredentials } from '../../../platform/libc/unix-socket.ts';
import { listenUnix } from '../../../platform/unix-listener.ts';
import type { Incoming } from '../migration/incoming.ts';
import { checkSameMachine } from '../migration/same-machine.ts';
import type { Resumed } from '../resume.ts';
import { standByFor } from './stand-by.ts';

/**
 * Waits for the guest. undefined: `stop` came first, or the other VMM needs us no more. Errors of
 * listenUnix; EINVAL: the guest is of another machine than our options say.
 */
export async function acceptGuest(
  { main, cpr, options }: Incoming,
  stop: Promise<unknown>,
): Promise<Resumed | undefined> {
  const doors = [new Door(main), new Door(cpr)];
  try {
    const come = Promise.all(doors.map((door) => door.fd));
    const fds = await Promise.race([come, stop.then(() => undefined)]);
    if (!fds) return undefined;
    const [messagesFd, fdsSocket] = fds as [number, number];
    return await standByFor({ messagesFd, fdsSocket, vmm: peerCredentials(messagesFd).pid }, (guests) => {
      checkSameMachine(options, guests, ['qmp']);
      const { guardian: _, ...machine } = guests;
      const { qmp, lifeline, guardian } = options;
      return {
        ...machine,
        ...(qmp === undefined ? {} : { qmp }),
        ...(lifeline === undefined ? {} : { lifeline }),
        ...(guardian === undefined ? {} : { guardian }),
      };
    });
  } finally {
    for (const door of doors) door.close();
  }
}

/** A socket that listens for one connection. */
class Door {
  readonly #path: string;
  readonly #server = createServer({ pauseOnConnect: true });
  /** The connection, as a fd of our own. */
  readonly fd: Promise<number>;

  constructor(path: string) {
    this.#path = path;
    this.#server.listen({ fd: listenUnix(path) });
    this.fd = once(this.#server, 'connection').then(([socket]) => ownFd(socket as Socket));
  }

  close(): void {
    rmSync(this.#path, { force: true });
    this.#server.close();
  }
}

function ownFd(socket: Socket): number {
  const fd = dupCloexec(handleFd(socket)!);
  socket.destroy();
  setBlocking(fd);
  return fd;
}
