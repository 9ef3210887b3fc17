/**
 * What each client process has of the host at its socket: connections, and bytes that the host keeps for it. A connection is the
 * process's that made it, whoever has inherited it since.
 *
 * A process may have as many connections as are left for all others, so however many processes take all they can get, as much as
 * each of them has remains for the next: one gets a half, two a third each, nine a tenth.
 */
import { SysError } from '../../../platform/errno.ts';

/** Connections of all clients together, whatever the host's RLIMIT_NOFILE. Each costs the kernel's thread some 10 µs when all of them have something to say. */
const MAX_CONNECTIONS = 4096;
/** Requests that have not come whole, requests under way and answers that were not read, of one process. */
const MAX_BYTES = 128 * 2 ** 20;
/** No request is begun beyond this: a process that waits for its answers is told ENOMEM before it is disconnected. */
export const MAX_BYTES_OF_CALLS = MAX_BYTES / 2;

/** Connections for a host that may have `nofile` fds; the other half are devices', eventfds and memory. */
export const connectionLimit = (nofile: number): number => Math.min(MAX_CONNECTIONS, Math.floor(nofile / 2));

export interface ClientProcess {
  readonly pid: number;
  readonly connections: number;
  readonly bytes: number;
}

interface Account extends ClientProcess {
  connections: number;
  bytes: number;
}

export class Clients {
  readonly #maxConnections: number;
  readonly #byPid = new Map<number, Account>();
  #connections = 0;

  constructor(maxConnections: number) {
    this.#maxConnections = maxConnections;
  }

  /**
   * One more connection of process `pid`, until leave(). As open(2) says it: EMFILE when the process has its share, ENFILE when
   * there is none left for anybody.
   */
  enter(pid: number): ClientProcess {
    const account = this.#byPid.get(pid) ?? { pid, connections: 0, bytes: 0 };
    const left = this.#maxConnections - this.#connections;
    if (left <= 0) throw new SysError('ENFILE', `the host's ${this.#maxConnections} connections are taken`);
    if (account.connections >= left) {
      throw new SysError(
        'EMFILE',
        `process ${pid} has ${account.connections} of the host's connections, ${left} are left`,
      );
    }
    account.connections++;
    this.#connections++;
    this.#byPid.set(pid, account);
    return account;
  }

  leave(client: ClientProcess): void {
    const account = this.#byPid.get(client.pid)!;
    this.#connections--;
    if (--account.connections === 0) this.#byPid.delete(client.pid);
  }

  /** So many more bytes for a client, or fewer. ENOMEM if it would have more than `limit` then: nothing is counted. */
  hold(client: ClientProcess, bytes: number, limit = MAX_BYTES): void {
    const account = this.#byPid.get(client.pid)!;
    if (bytes > 0 && account.bytes + bytes > limit) {
      throw new SysError('ENOMEM', `process ${client.pid} has ${account.bytes} bytes of the host already`);
    }
    account.bytes += bytes;
  }
}
