/**
 * Physical address space of the board, as one thread sees it. A pa is a number below 2^52; inside,
 * the code uses page numbers (pfn). Ranges are [start, end). The board owns the authoritative map
 * and tells each thread of changes by a message port (change-port.ts). It posts a change *before*
 * any page table entry or directory can lead to it. So a thread that has read such an entry finds
 * the message when it drains the port (`resolve`), even if the pa was used for something else
 * before.
 */
import { hex } from '../../platform/hex.ts';
import { PAGE_SIZE } from '../../platform/page.ts';
import type { PeerRequester } from './peer-cycles.ts';
import { AttachedRange, type PaRange } from './range.ts';

/** A message to every thread; `detach` names the start of the range. */
export type PhysicalChange = { readonly attach: PaRange } | { readonly detach: number };

/** One thread's view of the physical address space. */
export class PhysicalMemory {
  readonly #nextChange: (() => PhysicalChange | undefined) | undefined;
  readonly #requester: PeerRequester | undefined;
  /** Sorted by startPfn; they do not overlap. */
  readonly #ranges: AttachedRange[] = [];
  #last: AttachedRange | undefined;
  readonly #detachListeners: (() => void)[] = [];

  /**
   * `nextChange` gives the oldest change that was posted and not yet given. `requester`: the
   * function of the bus whose thread this is; it reaches registers of others.
   */
  constructor(ranges: readonly PaRange[], nextChange?: () => PhysicalChange | undefined, requester?: PeerRequester) {
    this.#nextChange = nextChange;
    this.#requester = requester;
    for (const range of ranges) this.attach(range);
  }

  attach(range: PaRange): void {
    const attached = new AttachedRange(range, this.#requester);
    const at = this.#indexOf(attached.startPfn);
    const next = this.#ranges[at];
    if (next && next.startPfn < attached.endPfn) {
      throw new RangeError(`physical range ${hex(range.start)} overlaps one that is attached`);
    }
    this.#ranges.splice(at, 0, attached);
  }

  detach(start: number): void {
    const at = this.#indexOf(start / PAGE_SIZE);
    if (this.#ranges[at]?.range.start === start) this.#ranges.splice(at, 1);
    this.#last = undefined;
    for (const forget of this.#detachListeners) forget();
  }

  /** Calls `forget` at each detach. A caller that keeps an AttachedRange drops it then. */
  onDetach(forget: () => void): void {
    this.#detachListeners.push(forget);
  }

  /** Applies all changes that were posted so far. */
  poll(): void {
    if (!this.#nextChange) return;
    for (let change = this.#nextChange(); change; change = this.#nextChange()) {
      if ('attach' in change) this.attach(change.attach);
      else this.detach(change.detach);
    }
  }

  /**
   * The range of a `pfn` from an entry just read. It drains the port first, which takes 0.1 µs when
   * nothing has changed.
   */
  resolve(pfn: number): AttachedRange | undefined {
    this.poll();
    return this.#lookup(pfn);
  }

  /**
   * The range of `pfn`. A miss drains the port and looks again. This is for memory that keeps its
   * pa while in use here: tables, queues.
   */
  find(pfn: number): AttachedRange | undefined {
    return this.#lookup(pfn) ?? this.resolve(pfn);
  }

  // HOT (3–4 times per table walk)
  #lookup(pfn: number): AttachedRange | undefined {
    const last = this.#last;
    if (last !== undefined && pfn >= last.startPfn && pfn < last.endPfn) return last;
    const range = this.#ranges[this.#indexOf(pfn)];
    if (range === undefined || pfn < range.startPfn) return undefined;
    this.#last = range;
    return range;
  }

  /** Index of the first range that does not end at or before `pfn`. */
  #indexOf(pfn: number): number {
    const ranges = this.#ranges;
    let low = 0;
    let high = ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (ranges[middle]!.endPfn <= pfn) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Reads [pa, pa + dst.length). False, with nothing read, when it is not inside one range. */
  read(pa: number, dst: Uint8Array): boolean {
    const range = this.#inside(pa, dst.length);
    return range?.read(pa - range.range.start, dst) ?? false;
  }

  write(pa: number, src: Uint8Array): boolean {
    const range = this.#inside(pa, src.length);
    return range?.write(pa - range.range.start, src) ?? false;
  }

  /** An aligned 32-bit read; undefined where nothing answers. */
  read32(pa: number): number | undefined {
    const range = this.find(Math.floor(pa / PAGE_SIZE));
    return range?.read32(pa - range.range.start);
  }

  write32(pa: number, value: number): boolean {
    const range = this.find(Math.floor(pa / PAGE_SIZE));
    return range?.write32(pa - range.range.start, value) ?? false;
  }

  #inside(pa: number, length: number): AttachedRange | undefined {
    const range = this.find(Math.floor(pa / PAGE_SIZE));
    return range && pa + length <= range.range.start + range.range.size ? range : undefined;
  }
}
