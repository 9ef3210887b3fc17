/**
 * The open files that clients hold. Each is a file connection, known by the inode of the client's
 * end of the socket. A file with a connection that has hung up has no fd left anywhere. epoll(7)
 * tells this at once, before the event loop would. Those of a client that needs mappings without
 * this library are memory objects instead (object-files.ts).
 */
import { HangUpSet } from '../../../platform/libc/epoll.ts';
import { reportBug } from '../core/bug.ts';
import { dropped, type OpenFile } from '../core/open-file.ts';
import { ObjectFiles, type OpenedFile } from './object-files.ts';

export interface HeldFile extends OpenedFile {
  readonly inode: number;
  /** Our end of the connection. */
  readonly socketFd: number;
  /** Drops our end of the connection. */
  readonly disconnect: () => void;
}

export class FileTable {
  readonly #byInode = new Map<number, HeldFile>();
  readonly #bySocket = new Map<number, HeldFile>();
  /** What fds are known to mean, by process. */
  readonly #byFd = new Map<number, Map<number, HeldFile>>();
  /** Releases that are under way, by the process that had the file. */
  readonly #releasing = new Map<number, Promise<unknown>>();
  /** Calls that have not ended when they returned. Each keeps its file open. */
  readonly #calls = new Set<Promise<unknown>>();
  readonly #objects = new ObjectFiles(() => this.#dropGone());
  #hangUps: HangUpSet | undefined;

  add(held: HeldFile): void {
    this.#hangUps ??= new HangUpSet();
    this.#hangUps.add(held.socketFd);
    this.#byInode.set(held.inode, held);
    this.#bySocket.set(held.socketFd, held);
  }

  find(inode: number): OpenFile | undefined {
    return this.#byInode.get(inode)?.file;
  }

  /**
   * The open file behind a fd of process `pid`, if it was found before and the process has told of
   * no change since (wire.ts: PageRequest).
   */
  remembered(pid: number, fd: number): OpenFile | undefined {
    const held = this.#byFd.get(pid)?.get(fd);
    return held && this.#byInode.get(held.inode) === held ? held.file : undefined;
  }

  /** Remembers that a fd of process `pid` is the file with this inode, until forget(). */
  remember(pid: number, fd: number, inode: number): void {
    const held = this.#byInode.get(inode);
    if (!held) return;
    const fds = this.#byFd.get(pid);
    if (fds) fds.set(fd, held);
    else this.#byFd.set(pid, new Map([[fd, held]]));
  }

  /** The fds of process `pid` may mean other files now. */
  forget(pid: number): void {
    this.#byFd.delete(pid);
  }

  has(inode: number): boolean {
    return this.#byInode.has(inode);
  }

  /** A new fd for a file whose fd is the memory object `object`: ObjectFiles.give. */
  giveObject(opened: OpenedFile, object: number): number {
    return this.#objects.give(opened, object);
  }

  /** The file whose object fd `fd` of process `pid` is. */
  findObject(pid: number, fd: number): OpenFile | undefined {
    return this.#objects.find(pid, fd);
  }

  /** The file whose object has this key (vmaObjectKey). */
  findMapped(key: string): OpenFile | undefined {
    return this.#objects.withKey(key);
  }

  list(): Iterable<OpenedFile> {
    return [...this.#byInode.values(), ...this.#objects.list()];
  }

  /**
   * The last close(2) of a file. It drops the reference of the file's fds. No effect the second
   * time.
   */
  close(held: HeldFile): void {
    if (this.#byInode.get(held.inode) !== held) return;
    this.#byInode.delete(held.inode);
    // After our end was closed its number may be another file's.
    if (this.#bySocket.get(held.socketFd) === held) {
      this.#bySocket.delete(held.socketFd);
      this.#hangUps?.remove(held.socketFd);
    }
    held.disconnect();
    this.drop(held);
  }

  /** A call that goes on keeps its file open: `released` waits for it. */
  goesOn(call: Promise<unknown>): void {
    const over = (): boolean => this.#calls.delete(call);
    this.#calls.add(call);
    call.then(over, over);
  }

  /** Drops a reference that `pid` had. `released` waits for the releases that this begins. */
  drop({ file, pid }: OpenedFile): void {
    const rest = dropped(() => file.put());
    if (rest) this.#releaseGoesOn(pid, rest);
  }

  #dropGone(): void {
    for (const opened of this.#objects.gone()) this.drop(opened);
  }

  #releaseGoesOn(pid: number, rest: Promise<unknown>): void {
    const all = Promise.all([this.#releasing.get(pid), rest])
      .catch(reportBug)
      .then(() => {
        if (this.#releasing.get(pid) === all) this.#releasing.delete(pid);
      });
    this.#releasing.set(pid, all);
  }

  /**
   * Settles when the releases of all files that process `pid` has closed are over. Undefined when
   * none is under way.
   */
  releasing(pid: number): Promise<unknown> | undefined {
    return this.#releasing.get(pid);
  }

  /**
   * Closes every file that has hung up. It is called before each system call, so that close(2) is
   * as synchronous as Linux's.
   */
  closeHungUp(): void {
    this.#dropGone();
    for (;;) {
      const fds = this.#hangUps?.hungUp() ?? [];
      if (fds.length === 0) return;
      for (const fd of fds) {
        const held = this.#bySocket.get(fd);
        if (held) this.close(held);
        else this.#hangUps?.remove(fd);
      }
    }
  }

  closeAll(): void {
    for (const held of [...this.#byInode.values()]) this.close(held);
    for (const opened of this.#objects.takeAll()) this.drop(opened);
    this.#hangUps?.close();
    this.#hangUps = undefined;
  }

  /**
   * After closeAll(), with all channels ended: resolves when no call and no release is under way.
   * The end of a call may be a release's begin.
   */
  async released(): Promise<void> {
    while (this.#calls.size > 0 || this.#releasing.size > 0) {
      await Promise.allSettled([...this.#calls, ...this.#releasing.values()]);
    }
    await this.#objects.close();
  }
}
