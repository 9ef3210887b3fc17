/**
 * The translation cache of one port (IOATC, §2.4): two direct-mapped arrays, for pages of 4 KiB and for aligned blocks of 2 MiB
 * out of larger leaves. Entries hold whatever was true when they were filled, until an invalidation request takes them out.
 */
import type { AttachedRange } from './physical.ts';

const SMALL = 1024;
const LARGE = 256;
/** Pages of a large entry: 2 MiB. */
export const BLOCK_PAGES = 512;

export const PERM_R = 1;
export const PERM_W = 2;
const GLOBAL = 4;

/** No page number. */
const EMPTY = -1;

export class Iotlb {
  /** Page number (small) or block number (large) of each entry, or EMPTY. */
  readonly #tags = new Float64Array(SMALL + LARGE).fill(EMPTY);
  readonly #flags = new Uint8Array(SMALL + LARGE);
  /** Page in the range that the entry's first page translates to. */
  readonly #pages = new Int32Array(SMALL + LARGE);
  /** Pages of the leaf that the entry came from. */
  readonly #leaves = new Float64Array(SMALL + LARGE).fill(1);
  readonly #ranges: (AttachedRange | undefined)[] = new Array(SMALL + LARGE).fill(undefined);
  /** Whether there may be an entry out of a leaf of more than 4 KiB: such a leaf may have left any number of entries. */
  #anySuper = false;

  /** Index of the entry that allows `perm` on page `vpn`, or −1. */
  // HOT (each chunk; 2 ns)
  lookup(vpn: number, perm: number): number {
    const small = vpn & (SMALL - 1);
    if (this.#tags[small] === vpn && (this.#flags[small]! & perm) !== 0) return small;
    const block = Math.floor(vpn / BLOCK_PAGES);
    const large = SMALL + (block & (LARGE - 1));
    if (this.#tags[large] === block && (this.#flags[large]! & perm) !== 0) return large;
    return -1;
  }

  range(entry: number): AttachedRange {
    return this.#ranges[entry]!;
  }

  /** Page in the entry's range that `vpn` translates to. */
  page(entry: number, vpn: number): number {
    const first = this.#pages[entry]!;
    return entry < SMALL ? first : first + (vpn & (BLOCK_PAGES - 1));
  }

  /** Pages from `vpn` on that the entry covers. */
  pagesFrom(entry: number, vpn: number): number {
    return entry < SMALL ? 1 : BLOCK_PAGES - (vpn & (BLOCK_PAGES - 1));
  }

  /** Caches a translation. Returns the entry's index. */
  fill(vpn: number, to: IotlbTarget): number {
    const { large } = to;
    const block = Math.floor(vpn / BLOCK_PAGES);
    const entry = large ? SMALL + (block & (LARGE - 1)) : vpn & (SMALL - 1);
    this.#tags[entry] = large ? block : vpn;
    this.#flags[entry] = to.perms | (to.global ? GLOBAL : 0);
    this.#pages[entry] = large ? to.page - (vpn & (BLOCK_PAGES - 1)) : to.page;
    this.#leaves[entry] = to.leafPages;
    this.#ranges[entry] = to.range;
    if (to.leafPages > 1) this.#anySuper = true;
    return entry;
  }

  /** Forgets all entries; global ones stay if `keepGlobal`. */
  clear(keepGlobal: boolean): void {
    if (keepGlobal) {
      for (let entry = 0; entry < SMALL + LARGE; entry++) this.#drop(entry, true);
      return;
    }
    this.#tags.fill(EMPTY);
    this.#ranges.fill(undefined);
    this.#anySuper = false;
  }

  /** Forgets what came out of the leaf that maps `vpn`. */
  clearPage(vpn: number, keepGlobal: boolean): void {
    const small = vpn & (SMALL - 1);
    if (this.#tags[small] === vpn) this.#drop(small, keepGlobal);
    if (!this.#anySuper) return;
    for (let entry = 0; entry < SMALL + LARGE; entry++) {
      const tag = this.#tags[entry]!;
      const first = entry < SMALL ? tag : tag * BLOCK_PAGES;
      const leaf = this.#leaves[entry]!;
      if (tag !== EMPTY && Math.floor(first / leaf) === Math.floor(vpn / leaf)) this.#drop(entry, keepGlobal);
    }
  }

  #drop(entry: number, keepGlobal: boolean): void {
    if (keepGlobal && (this.#flags[entry]! & GLOBAL) !== 0) return;
    this.#tags[entry] = EMPTY;
    this.#ranges[entry] = undefined;
  }
}

/** What a page translates to. */
export interface IotlbTarget {
  readonly range: AttachedRange;
  /** Page in that range. */
  readonly page: number;
  /** PERM_R | PERM_W */
  readonly perms: number;
  readonly global: boolean;
  /** Pages of the leaf it came from. */
  readonly leafPages: number;
  /** The whole aligned block of 2 MiB around it translates to the same range, page by page. */
  readonly large: boolean;
}
