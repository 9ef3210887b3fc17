/**
 * The open files that clients hold: each a file connection, known by the inode of the client's end of the socket. A file
 * whose connection has hung up has no fd left anywhere; poll(2) tells so at once, before the event loop would.
 */
import { POLLHUP, POLLIN, POLLRDHUP, type PollFd, poll } from '../../platform/libc.ts';
import type { OpenFile } from './open-file.ts';

export interface HeldFile {
  readonly inode: number;
  readonly file: OpenFile;
  /** Our end of the connection. */
  readonly socketFd: number;
  /** Who opened it, for lists. */
  readonly pid: number;
  /** Drops our end of the connection. */
  readonly disconnect: () => void;
}

export class FileTable {
  readonly #byInode = new Map<number, HeldFile>();
  /** In the order of #byInode; rebuilt after a change. */
  #polled: readonly PollFd[] | undefined;

  add(held: HeldFile): void {
    this.#byInode.set(held.inode, held);
    this.#polled = undefined;
  }

  find(inode: number): OpenFile | undefined {
    return this.#byInode.get(inode)?.file;
  }

  has(inode: number): boolean {
    return this.#byInode.has(inode);
  }

  list(): Iterable<HeldFile> {
    return this.#byInode.values();
  }

  /** The last close(2) of a file: drops the fds' reference. No effect the second time. */
  close(held: HeldFile): void {
    if (this.#byInode.get(held.inode) !== held) return;
    this.#byInode.delete(held.inode);
    this.#polled = undefined;
    held.disconnect();
    held.file.put();
  }

  /** Closes every file that has hung up, so that close(2) is as synchronous as Linux's; before each system call. */
  closeHungUp(): void {
    if (this.#byInode.size === 0) return;
    this.#polled ??= [...this.#byInode.values()].map(({ socketFd }) => ({ fd: socketFd, events: POLLIN | POLLRDHUP }));
    const revents = poll(this.#polled, 0);
    if (!revents) return;
    const held = [...this.#byInode.values()];
    held.forEach((one, i) => {
      if (((revents[i] ?? 0) & (POLLHUP | POLLRDHUP)) !== 0) this.close(one);
    });
  }

  closeAll(): void {
    for (const held of [...this.#byInode.values()]) this.close(held);
  }
}
