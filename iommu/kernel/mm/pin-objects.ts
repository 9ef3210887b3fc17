/**
 * Memory objects on the board. A memfd or a file is attached once for all clients. It stays for as
 * long as a page of it is pinned, and a little longer.
 */
import { fstatSync } from 'node:fs';
import { efault, withoutFds } from '../../../platform/errno.ts';
import { close, dupCloexec } from '../../../platform/libc/fd.ts';
import { isSealedAgainstShrinking, isSealedAgainstWriting, type ObjectId } from '../../../platform/memory.ts';
import { PAGE_SIZE, pagesFor } from '../../../platform/page.ts';
import type { Sliced } from '../../../platform/slices.ts';
import type { Vma } from '../../../platform/vma.ts';
import type { Mm } from '../core/task.ts';
import type { BoardShares } from './board-shares.ts';

/**
 * The most unpinned objects that stay attached, so that a client that maps and unmaps one page
 * over and over does not wait each time.
 */
const IDLE_OBJECTS = 16;

/**
 * The part of the board that pinning needs (protocol.ts: BoardCall). A place is a page number. The
 * fds are the board's from the call on.
 */
export interface BoardMemory {
  /** First pfn of the memory object's range. */
  attachObject(fd: number, size: number, id: ObjectId): number;
  /**
   * First pfn of a range for `size` bytes of a process at `vaddr`. Most of the range may be
   * unmapped.
   */
  attachProcess(memFd: number, vaddr: number, size: number): number;
  /** Drops a range. No device may use it any more. */
  detach(startPfn: number): void;
}

/** A range of board memory that pins keep alive. */
export interface Backing {
  readonly startPfn: number;
  /** The range outlives the kernel: it is a file of pkernfs. */
  readonly persistent?: boolean;
  /** Takes one more reference. */
  get(): void;
  /** Drops one reference; the last one lets the range go. */
  put(): void;
}

/** A memory object with a place on the board. */
class ObjectBacking implements Backing {
  readonly key: string;
  readonly startPfn: number;
  /** Pages that are attached; the object may have grown since. */
  readonly nrPages: number;
  /** Our own fd. It keeps the inode number from being used again, and tells the present size. */
  readonly fd: number;
  /**
   * False for an object that was sealed against writing before it was attached. Its owner may have
   * a mapping from before the seal, and write (MAP-13).
   */
  readonly writable: boolean;
  /** It cannot shrink, so all its pages are there for ever. */
  readonly stays: boolean;
  /** Gives back the cost of the object. */
  readonly giveBack: () => void;
  pins = 0;
  readonly #onUnpinned: (backing: ObjectBacking) => void;

  constructor(
    place: Pick<ObjectBacking, 'key' | 'startPfn' | 'nrPages' | 'fd' | 'writable' | 'stays' | 'giveBack'>,
    onUnpinned: (backing: ObjectBacking) => void,
  ) {
    this.key = place.key;
    this.startPfn = place.startPfn;
    this.nrPages = place.nrPages;
    this.fd = place.fd;
    this.writable = place.writable;
    this.stays = place.stays;
    this.giveBack = place.giveBack;
    this.#onUnpinned = onUnpinned;
  }

  get(): void {
    this.pins++;
  }

  put(): void {
    if (--this.pins === 0) this.#onUnpinned(this);
  }
}

/**
 * The pages of an object from its start that are there now. A page beyond the end of the object
 * cannot be pinned.
 */
export interface PlacedObject {
  readonly backing: Backing;
  readonly nrPages: number;
}

export class BoardObjects {
  readonly #board: BoardMemory;
  readonly #shares: BoardShares;
  /** The attachment in use of each object, by `major:minor:inode`. */
  readonly #objects = new Map<string, ObjectBacking>();
  /** Objects without a pin, the longest idle first. */
  readonly #idle = new Set<ObjectBacking>();

  constructor(board: BoardMemory, shares: BoardShares) {
    this.#board = board;
    this.#shares = shares;
  }

  /**
   * Attaches the object behind `vma`, or finds it attached, and takes one reference. The caller
   * wants no page of the object from `end` on. Undefined for an object that cannot be opened
   * (ObjectFinder), or that must be written and cannot be. Such memory is reached through the
   * process. ENOMEM: the share of the process is used up.
   */
  *place(mm: Mm, vma: Vma, end: number, write: boolean): Sliced<PlacedObject | undefined> {
    const key = `${vma.major}:${vma.minor}:${vma.inode}`;
    const known = this.#objects.get(key);
    if (known) {
      if (known.stays && end <= known.nrPages) return this.#taken(known, known.nrPages, write);
      const nrPages = nrPagesNow(known.fd);
      if (nrPages <= known.nrPages) return this.#taken(known, nrPages, write);
    }
    // Other calls may be served meanwhile, and attach this object, or another length of it.
    const fd = yield* mm.space.openObject(vma);
    if (fd === undefined) return undefined;
    const now = this.#objects.get(key);
    if (now && nrPagesNow(now.fd) <= now.nrPages) {
      close(fd);
      return this.#taken(now, nrPagesNow(now.fd), write);
    }
    // New, or grown: the longer object gets a range of its own, the old one goes with its last pin.
    if (now?.pins === 0) this.#drop(now);
    const backing = this.#attach(mm, key, fd);
    this.#objects.set(key, backing);
    return this.#taken(backing, backing.nrPages, write);
  }

  #taken(backing: ObjectBacking, nrPages: number, write: boolean): PlacedObject | undefined {
    if (write && !backing.writable) {
      if (backing.pins === 0) this.#unpinned(backing);
      return undefined;
    }
    if (backing.pins++ === 0) this.#idle.delete(backing);
    return { backing, nrPages };
  }

  /** Takes the fd, also when it fails. */
  #attach(mm: Mm, key: string, fd: number): ObjectBacking {
    let giveBack: (() => void) | undefined;
    try {
      const nrPages = nrPagesNow(fd);
      const { dev, ino } = fstatSync(fd);
      if (nrPages === 0) throw efault('memory object is empty');
      giveBack = this.#shares.takeObject(mm.space.pid, nrPages * PAGE_SIZE);
      const startPfn = this.#board.attachObject(dupCloexec(fd), nrPages * PAGE_SIZE, { dev, ino });
      // The seals are read after the board has sealed and mapped the object, or has failed to.
      const writable = !isSealedAgainstWriting(fd);
      const stays = isSealedAgainstShrinking(fd) && nrPagesNow(fd) >= nrPages;
      const place = { key, startPfn, nrPages, fd, writable, stays, giveBack };
      return new ObjectBacking(place, (backing) => this.#unpinned(backing));
    } catch (error) {
      giveBack?.();
      close(fd);
      throw withoutFds(error);
    }
  }

  #unpinned(backing: ObjectBacking): void {
    if (this.#objects.get(backing.key) !== backing) {
      this.#drop(backing);
      return;
    }
    this.#idle.add(backing);
    for (const oldest of this.#idle) {
      if (this.#idle.size <= IDLE_OBJECTS) break;
      this.#drop(oldest);
    }
  }

  /** Detaches every object without a pin. */
  trim(): void {
    for (const backing of this.#idle) this.#drop(backing);
  }

  #drop(backing: ObjectBacking): void {
    this.#idle.delete(backing);
    if (this.#objects.get(backing.key) === backing) this.#objects.delete(backing.key);
    this.#board.detach(backing.startPfn);
    close(backing.fd);
    backing.giveBack();
  }
}

const nrPagesNow = (fd: number): number => pagesFor(fstatSync(fd).size);
