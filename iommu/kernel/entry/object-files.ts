/**
 * Open files whose fd is a memory object (iommu/abi/device-object.ts) and no connection. Clients
 * get an open file of the object with a shared lock (flock(2)). Linux drops the lock when the last
 * fd and the last mapping of that open file have gone, in whatever processes they are: what nobody
 * has locked is closed. All open files of one device are one object, so they are released together.
 * DEVIATION: Linux releases each when it is closed. A client that unlocks its fd has closed it.
 */
import { close, lockNow, lockShared, open, unlock } from '../../../platform/libc/fd.ts';
import { dueIn } from '../../../platform/next-round.ts';
import { fdObjectKey, objectKeyOf } from '../../../platform/process.ts';
import type { OpenFile } from '../core/open-file.ts';
import { Closes } from './closes/closes.ts';

/** An open file, and the process that opened it. */
export interface OpenedFile {
  readonly file: OpenFile;
  readonly pid: number;
}

interface HeldObject {
  /** The kernel's own fd, which has no lock. */
  readonly object: number;
  readonly watch: number;
  /** Never empty. */
  files: readonly OpenedFile[];
  /** An open file of it has been closed; whether it was the last one is not known yet. */
  closing: boolean;
}

/**
 * Linux tells of a close a moment before it drops the lock. So what is still locked is looked at
 * again so many times, first after 1 ms, then after twice the time; and at each system call.
 */
const LOOKS = 11;

export class ObjectFiles {
  readonly #byKey = new Map<string, HeldObject>();
  readonly #onClose: () => void;
  #closes: Closes | undefined;
  #cancel = (): void => {};

  /** `onClose` is called when gone() may have something to tell. */
  constructor(onClose: () => void) {
    this.#onClose = onClose;
  }

  /**
   * A new fd for the open file, to be passed on and closed. Errors of open(2), and those of Closes.
   */
  give(opened: OpenedFile, object: number): number {
    this.#closes ??= new Closes(() => this.#look(LOOKS));
    const key = fdObjectKey(object);
    const held = this.#byKey.get(key);
    const watch = held?.watch ?? this.#closes.watch(object);
    const fd = open(`/proc/self/fd/${object}`);
    try {
      lockShared(fd);
    } catch (error) {
      close(fd);
      throw error;
    }
    if (held) held.files = [...held.files, opened];
    else this.#byKey.set(key, { object, watch, files: [opened], closing: false });
    return fd;
  }

  /** The open file behind fd `fd` of process `pid`. */
  find(pid: number, fd: number): OpenFile | undefined {
    if (this.#byKey.size === 0) return undefined;
    const key = objectKeyOf(pid, fd);
    return key === undefined ? undefined : this.withKey(key);
  }

  /** The open file whose object has this key (fdObjectKey), also when only mappings are left. */
  withKey(key: string): OpenFile | undefined {
    return this.#byKey.get(key)?.files[0]?.file;
  }

  list(): readonly OpenedFile[] {
    return [...this.#byKey.values()].flatMap(({ files }) => files);
  }

  /** Takes away the files that nobody has any more. The caller releases them. */
  gone(): readonly OpenedFile[] {
    if (this.#byKey.size === 0) return [];
    const closed = this.#closes!.take();
    const gone: OpenedFile[] = [];
    for (const [key, held] of this.#byKey) {
      if (closed.includes(held.watch) || closed.includes(-1)) held.closing = true;
      if (!held.closing || !lockNow(held.object)) continue;
      unlock(held.object);
      this.#byKey.delete(key);
      gone.push(...held.files);
    }
    return gone;
  }

  /** Tells the owner, and again later if something is still locked. */
  #look(looks: number): void {
    this.#cancel();
    this.#onClose();
    const isOpen = [...this.#byKey.values()].some(({ closing }) => closing);
    if (!isOpen || looks === 0) return;
    this.#cancel = dueIn(2 ** (LOOKS - looks), () => this.#look(looks - 1));
  }

  /** Takes all files away. The caller releases them. */
  takeAll(): readonly OpenedFile[] {
    const all = this.list();
    this.#byKey.clear();
    this.#cancel();
    return all;
  }

  /** Ends the thread. No file is there any more. */
  async close(): Promise<void> {
    await this.#closes?.close();
    this.#closes = undefined;
  }
}
