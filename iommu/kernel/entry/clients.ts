/**
 * The resources of the host that each client process holds at the socket: connections, and bytes
 * that the host keeps for it. A connection counts for the process that made it, even if another
 * process has inherited it since.
 *
 * Connections are counted in the host's fds. A process may have as many as are left for all others.
 * So each process that takes all it can get leaves as much for the next process. One process gets a
 * half, two get a third each, nine a tenth each.
 */
import { SysError } from '../../../platform/errno.ts';

/** Four more fds look into each process: maps, mem, status, and a pidfd. */
const FDS_OF_PROCESS = 4;
/**
 * The most bytes of one process: requests that have not come whole, requests under way, and answers
 * that were not read.
 */
const MAX_BYTES = 128 * 2 ** 20;
/**
 * No request is begun beyond this limit. A process that waits for its answers gets ENOMEM before it
 * is disconnected.
 */
export const MAX_BYTES_OF_CALLS = MAX_BYTES / 2;

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
  readonly #byPid = new Map<number, Account>();
  #left: number;

  /** `fds`: of all connections and their processes. */
  constructor(fds: number) {
    this.#left = fds;
  }

  /**
   * Counts one more connection of process `pid`, until leave(). The errors are those of open(2):
   * EMFILE when the process has its share, ENFILE when there is none left for any process.
   */
  enter(pid: number): ClientProcess {
    const account = this.#byPid.get(pid) ?? { pid, connections: 0, bytes: 0 };
    const has = account.connections === 0 ? 0 : account.connections + FDS_OF_PROCESS;
    const fds = has === 0 ? FDS_OF_PROCESS + 1 : 1;
    if (fds > this.#left) throw new SysError('ENFILE', 'the host has as many connections as it may have');
    if (has + fds > this.#left) {
      throw new SysError('EMFILE', `process ${pid} has ${account.connections} of the host's connections, its share`);
    }
    account.connections++;
    this.#left -= fds;
    this.#byPid.set(pid, account);
    return account;
  }

  /**
   * Counts a process that the client makes calls for, until leaveProcess(). Errors as enter(). A
   * process is counted for each of its channels.
   */
  enterProcess(client: ClientProcess): void {
    const { connections } = this.#byPid.get(client.pid)!;
    if (FDS_OF_PROCESS > this.#left) throw new SysError('ENFILE', 'the host has as many processes as it may look into');
    if (connections + 2 * FDS_OF_PROCESS > this.#left) {
      throw new SysError('EMFILE', `process ${client.pid} has ${connections} of the host's connections, its share`);
    }
    this.#left -= FDS_OF_PROCESS;
  }

  leaveProcess(_client: ClientProcess): void {
    this.#left += FDS_OF_PROCESS;
  }

  leave(client: ClientProcess): void {
    const account = this.#byPid.get(client.pid)!;
    this.#left++;
    if (--account.connections > 0) return;
    this.#left += FDS_OF_PROCESS;
    this.#byPid.delete(client.pid);
  }

  /**
   * Adds bytes to a client's account; a negative number takes some away. ENOMEM if the client would
   * then have more than `limit`: nothing is counted.
   */
  hold(client: ClientProcess, bytes: number, limit = MAX_BYTES): void {
    const account = this.#byPid.get(client.pid)!;
    if (bytes > 0 && account.bytes + bytes > limit) {
      throw new SysError('ENOMEM', `process ${client.pid} has ${account.bytes} bytes of the host already`);
    }
    account.bytes += bytes;
  }
}
