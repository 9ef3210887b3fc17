/**
 * The translation cache of one port (IOATC, IOMMU spec §2.4). It has two direct-mapped arrays: for
 * pages of 4 KiB, and for aligned blocks of 2 MiB out of larger leaves. An entry stays as it was
 * filled until an invalidation request takes it out.
 */
import type { AttachedRange } from '../bus/range.ts';

const SMALL = 1024;
const LARGE = 256;
/** Pages of a large entry: 2 MiB. */
export const BLOCK_PAGES = 512;

/** No page number. */
const EMPTY = -1;

export class Iotlb {
  /** Page number (small) or block number (large) of each entry that may be read, or EMPTY. */
  readonly #readTags = new Float64Array(SMALL + LARGE).fill(EMPTY);
  /** The same for writing. */
  readonly #writeTags = new Float64Array(SMALL + LARGE).fill(EMPTY);
  readonly #global = new Uint8Array(SMALL + LARGE);
  /**
   * First page, in the range, of the block around the entry. The page of vpn lies vpn mod 512 after
   * it.
   */
  readonly #bases = new Int32Array(SMALL + LARGE);
  /** Pages of the leaf that the entry came from. */
  readonly #leaves = new Float64Array(SMALL + LARGE).fill(1);
  readonly #ranges: (AttachedRange | undefined)[] = new Array(SMALL + LARGE).fill(undefined);
  /**
   * Whether there may be an entry out of a leaf of more than 4 KiB. Such a leaf may have left any
   * number of entries.
   */
  #anySuper = false;

  /** Index of the entry that allows to read page `vpn`, or −1. */
  // HOT (each transaction; 2 ns)
  lookupRead(vpn: number): number {
    return find(this.#readTags, vpn);
  }

  /** Index of the entry that allows to write page `vpn`, or −1. */
  // HOT
  lookupWrite(vpn: number): number {
    return find(this.#writeTags, vpn);
  }

  range(entry: number): AttachedRange {
    return this.#ranges[entry]!;
  }

  /** Page in the entry's range that `vpn` translates to. */
  page(entry: number, vpn: number): number {
    return this.#bases[entry]! + (vpn & (BLOCK_PAGES - 1));
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
    const tag = large ? block : vpn;
    this.#readTags[entry] = to.readable ? tag : EMPTY;
    this.#writeTags[entry] = to.writable ? tag : EMPTY;
    this.#global[entry] = to.global ? 1 : 0;
    this.#bases[entry] = to.page - (vpn & (BLOCK_PAGES - 1));
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
    this.#readTags.fill(EMPTY);
    this.#writeTags.fill(EMPTY);
    this.#ranges.fill(undefined);
    this.#anySuper = false;
  }

  /** Forgets the entries that came out of the leaf that maps `vpn`. */
  clearPage(vpn: number, keepGlobal: boolean): void {
    const small = vpn & (SMALL - 1);
    if (this.#tag(small) === vpn) this.#drop(small, keepGlobal);
    if (!this.#anySuper) return;
    for (let entry = 0; entry < SMALL + LARGE; entry++) {
      const tag = this.#tag(entry);
      const first = entry < SMALL ? tag : tag * BLOCK_PAGES;
      const leaf = this.#leaves[entry]!;
      if (tag !== EMPTY && Math.floor(first / leaf) === Math.floor(vpn / leaf)) this.#drop(entry, keepGlobal);
    }
  }

  #tag(entry: number): number {
    const tag = this.#readTags[entry]!;
    return tag !== EMPTY ? tag : this.#writeTags[entry]!;
  }

  #drop(entry: number, keepGlobal: boolean): void {
    if (keepGlobal && this.#global[entry] === 1) return;
    this.#readTags[entry] = EMPTY;
    this.#writeTags[entry] = EMPTY;
    this.#ranges[entry] = undefined;
  }
}

function find(tags: Float64Array, vpn: number): number {
  const block = Math.floor(vpn / BLOCK_PAGES);
  const large = SMALL + (block & (LARGE - 1));
  if (tags[large] === block) return large; // first: guest RAM is mapped in large leaves
  const small = vpn & (SMALL - 1);
  return tags[small] === vpn ? small : -1;
}

/** The translation of a page. */
export interface IotlbTarget {
  readonly range: AttachedRange;
  /** Page in that range. */
  readonly page: number;
  readonly readable: boolean;
  readonly writable: boolean;
  readonly global: boolean;
  /** Pages of the leaf it came from. */
  readonly leafPages: number;
  /** The whole aligned block of 2 MiB around it translates to the same range, page by page. */
  readonly large: boolean;
}
