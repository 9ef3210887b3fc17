/**
 * The bitmap of blocks. A bit is set before an inode names its block and cleared after the inode no
 * longer does. So a crash can only leave bits without an owner, which the next mount clears. Runs
 * are [first, first + count).
 */
import { enospc } from '../../../platform/errno.ts';
import { BITMAP_AT, type Geometry } from './layout.ts';

export class Blocks {
  readonly #words: Int32Array;
  readonly #geometry: Geometry;

  constructor(words: Int32Array, geometry: Geometry) {
    this.#words = words;
    this.#geometry = geometry;
  }

  /** Takes a run for users, the first that fits. ENOSPC. */
  takeRun(count: number): number {
    const { nrBlocks, nrKernelBlocks } = this.#geometry;
    return this.#take(nrKernelBlocks, nrBlocks, count);
  }

  /** Takes one of the kernel's blocks. ENOSPC. */
  takeKernelBlock(): number {
    return this.#take(1, this.#geometry.nrKernelBlocks, 1);
  }

  #take(from: number, to: number, count: number): number {
    let free = 0;
    for (let block = from; block < to; block++) {
      free = this.isTaken(block) ? 0 : free + 1;
      if (free < count) continue;
      const first = block + 1 - count;
      for (let i = 0; i < count; i++) this.#set(first + i, true);
      return first;
    }
    throw enospc(`pkernfs: no run of ${count} free blocks`);
  }

  give(first: number, count: number): void {
    for (let i = 0; i < count; i++) this.#set(first + i, false);
  }

  isTaken(block: number): boolean {
    return (Atomics.load(this.#words, BITMAP_AT + (block >>> 5)) & (1 << (block & 31))) !== 0;
  }

  #set(block: number, taken: boolean): void {
    const at = BITMAP_AT + (block >>> 5);
    if (taken) Atomics.or(this.#words, at, 1 << (block & 31));
    else Atomics.and(this.#words, at, ~(1 << (block & 31)));
  }

  /** Blocks that can still be taken by users. */
  get nrFree(): number {
    const { nrBlocks, nrKernelBlocks } = this.#geometry;
    let free = 0;
    for (let block = nrKernelBlocks; block < nrBlocks; block++) if (!this.isTaken(block)) free++;
    return free;
  }

  /** Makes the bitmap say that exactly these blocks are taken. Returns how many bits were wrong. */
  repair(isOwned: (block: number) => boolean): number {
    let wrong = 0;
    for (let block = 1; block < this.#geometry.nrBlocks; block++) {
      const owned = isOwned(block);
      if (this.isTaken(block) === owned) continue;
      this.#set(block, owned);
      wrong++;
    }
    return wrong;
  }
}
