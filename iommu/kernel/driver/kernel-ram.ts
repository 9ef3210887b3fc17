/**
 * The page allocator over the kernel's RAM. It gives pages for directories, queues and page tables,
 * by page number (pfn) of the board. One Int32Array covers all words of the RAM. Pages come zeroed.
 * A page that is given back must be zero again, so no MAP_DMA has to clear 4 KiB. Page tables are
 * zero once all their entries are cleared.
 */
import { enomem } from '../../../platform/errno.ts';
import { hex } from '../../../platform/hex.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';
import type { PhysicalMemory } from '../../bus/physical.ts';
import type { TableMemory } from './table-memory.ts';

const PAGE_WORDS = PAGE_SIZE / 4;

export class KernelRam implements TableMemory {
  readonly words: Int32Array;
  readonly #startPfn: number;
  readonly #endPfn: number;
  /** Pages from here on were never handed out. */
  #untouched: number;
  readonly #free: number[] = [];
  readonly #freeRoots: number[] = [];

  /**
   * [start, start + size) must be RAM of the board and this allocator's alone. Contents left by an
   * earlier kernel are garbage: a page is cleared when it is handed out for the first time.
   */
  constructor(physical: PhysicalMemory, { start, size }: { readonly start: number; readonly size: number }) {
    const range = physical.find(start / PAGE_SIZE);
    if (!range?.isRam || start + size > range.range.start + range.range.size) {
      throw new RangeError(`kernel RAM ${hex(start)}+${hex(size)} is not RAM of the board`);
    }
    this.#startPfn = start / PAGE_SIZE;
    this.#endPfn = Math.floor((start + size) / PAGE_SIZE);
    this.#untouched = this.#startPfn;
    this.words = range.words.subarray((start - range.range.start) / 4, (start + size - range.range.start) / 4);
  }

  wordOf(pfn: number): number {
    return (pfn - this.#startPfn) * PAGE_WORDS;
  }

  indexOf(pfn: number): number {
    return pfn - this.#startPfn;
  }

  get nrPages(): number {
    return this.#endPfn - this.#startPfn;
  }

  get nrFree(): number {
    return this.#free.length + 4 * this.#freeRoots.length + this.#endPfn - this.#untouched;
  }

  allocate(): number {
    const pfn = this.#free.pop();
    if (pfn !== undefined) return pfn;
    if (this.#untouched >= this.#endPfn) throw enomem('kernel RAM is used up');
    return this.#touch(1);
  }

  release(pfn: number): void {
    this.#free.push(pfn);
  }

  allocateRoot(): number {
    const pfn = this.#freeRoots.pop();
    if (pfn !== undefined) return pfn;
    while (this.#untouched % 4 !== 0 && this.#untouched < this.#endPfn) this.release(this.#touch(1));
    if (this.#untouched + 4 > this.#endPfn) throw enomem('kernel RAM is used up');
    return this.#touch(4);
  }

  releaseRoot(pfn: number): void {
    this.#freeRoots.push(pfn);
  }

  #touch(nrPages: number): number {
    const pfn = this.#untouched;
    this.#untouched += nrPages;
    const at = this.wordOf(pfn);
    this.words.fill(0, at, at + nrPages * PAGE_WORDS);
    return pfn;
  }
}
