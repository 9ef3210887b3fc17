/**
 * A block of pkernfs with tables in it (PKF-1): 512 pages. The first one has a header and the
 * bitmap of the pages. The header says what the tables are, and is a record: there are tables from
 * the store of its checksum on. A page's bit is set before the page is linked and cleared after it
 * is unlinked, so a crash leaves at most pages that nothing leads to; keepOnly() takes them back.
 */
import { eio, enomem, SysError } from '../../../platform/errno.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';
import { atomic32, atomic32s, defineShared } from '../../../platform/shared.ts';
import type { PhysicalMemory } from '../../bus/physical.ts';
import { publishRecord, recordState, withdrawRecord } from '../pkernfs/record.ts';
import type { TableMemory } from './table-memory.ts';

const NR_PAGES = 512;
const PAGE_WORDS = PAGE_SIZE / 4;
const ROOT_PAGES = 4;

/** "tbls" */
const MAGIC = 0x736c6274;
const VERSION = 1;

const Header = defineShared('table block', {
  magic: atomic32,
  version: atomic32,
  use: atomic32,
  levels: atomic32,
  gscid: atomic32,
  root: atomic32, // page of the block
  msi: atomic32, // page of the block, 0 for none
  checksum: atomic32, // publishes the words before it
  bitmap: atomic32s(NR_PAGES / 32),
});

export const USE = { domain: 1, directory: 2 } as const;

export interface TableHeader {
  readonly use: (typeof USE)[keyof typeof USE];
  /** 3 or 4, of a domain; 3, of a directory of extended contexts, else 2. */
  readonly levels: number;
  readonly gscid: number;
  /** pfns. */
  readonly root: number;
  readonly msi?: number | undefined;
}

export class PersistentBlock implements TableMemory {
  readonly words: Int32Array;
  readonly nrPages = NR_PAGES;
  readonly startPfn: number;

  /** The block from page `startPfn` on must be RAM of the board. */
  constructor(physical: PhysicalMemory, startPfn: number) {
    const range = physical.find(startPfn);
    if (!range?.isRam || startPfn + NR_PAGES > range.endPfn) throw new RangeError(`block ${startPfn} is not RAM`);
    const first = (startPfn - range.startPfn) * PAGE_WORDS;
    this.words = range.words.subarray(first, first + NR_PAGES * PAGE_WORDS);
    this.startPfn = startPfn;
  }

  /**
   * What the tables of the block are; undefined: there are none. EIO: the header is damaged.
   * EOPNOTSUPP: this kernel does not know its version.
   */
  header(): TableHeader | undefined {
    const { words } = this;
    const state = recordState(words, 0, Header.word.checksum);
    if (state === 'none') return undefined;
    if (state === 'damaged' || words[Header.word.magic] !== MAGIC) throw eio('page tables: the header is damaged');
    const version = words[Header.word.version]!;
    if (version !== VERSION) {
      throw new SysError('EOPNOTSUPP', `page tables of version ${version}, this kernel knows ${VERSION}`);
    }
    const get = (word: number): number => words[word]!;
    const msi = get(Header.word.msi);
    return {
      use: get(Header.word.use) as TableHeader['use'],
      levels: get(Header.word.levels),
      gscid: get(Header.word.gscid),
      root: this.startPfn + get(Header.word.root),
      ...(msi === 0 ? {} : { msi: this.startPfn + msi }),
    };
  }

  publish({ use, levels, gscid, root, msi = this.startPfn }: TableHeader): void {
    publishRecord(this.words, 0, [MAGIC, VERSION, use, levels, gscid, root - this.startPfn, msi - this.startPfn]);
  }

  /** There are no tables any more. No device uses them. */
  withdraw(): void {
    withdrawRecord(this.words, 0, Header.word.checksum);
  }

  /** Whether a page is one that tables may lie in. */
  holds(pfn: number): boolean {
    return pfn > this.startPfn && pfn < this.startPfn + NR_PAGES;
  }

  wordOf(pfn: number): number {
    return (pfn - this.startPfn) * PAGE_WORDS;
  }

  indexOf(pfn: number): number {
    return pfn - this.startPfn;
  }

  get nrFree(): number {
    let free = 0;
    for (let page = 1; page < NR_PAGES; page++) if (!this.#isTaken(page)) free++;
    return free;
  }

  allocate(): number {
    return this.#take(1);
  }

  release(pfn: number): void {
    this.#mark(this.indexOf(pfn), false);
  }

  allocateRoot(): number {
    return this.#take(ROOT_PAGES);
  }

  releaseRoot(pfn: number): void {
    for (let i = 0; i < ROOT_PAGES; i++) this.release(pfn + i);
  }

  #take(count: 1 | 4): number {
    for (let page = count; page + count <= NR_PAGES; page += count) {
      let taken = false;
      for (let i = 0; i < count; i++) taken ||= this.#isTaken(page + i);
      if (taken) continue;
      for (let i = 0; i < count; i++) this.#mark(page + i, true);
      return this.startPfn + page;
    }
    throw enomem('the block of persistent page tables is full');
  }

  /** The pages that tables lie in are these; what else is marked is cleared and given back. */
  keepOnly(pfns: ReadonlySet<number>): void {
    for (let page = 1; page < NR_PAGES; page++) {
      const isKept = pfns.has(this.startPfn + page);
      if (isKept === this.#isTaken(page)) continue;
      if (!isKept) this.words.fill(0, page * PAGE_WORDS, (page + 1) * PAGE_WORDS);
      this.#mark(page, isKept);
    }
  }

  #isTaken(page: number): boolean {
    return (Atomics.load(this.words, Header.word.bitmap + (page >>> 5)) & (1 << (page & 31))) !== 0;
  }

  #mark(page: number, taken: boolean): void {
    const at = Header.word.bitmap + (page >>> 5);
    if (taken) Atomics.or(this.words, at, 1 << (page & 31));
    else Atomics.and(this.words, at, ~(1 << (page & 31)));
  }
}
