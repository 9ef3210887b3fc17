/**
 * Second-stage page tables (RISC-V privileged architecture, Sv39x4 and Sv48x4; IOMMU spec §2.3);
 * this class is their one writer. The root has 16 KiB and 2048 entries, and the tables below it
 * have 512. Leaves are of 4 KiB, 2 MiB, 1 GiB (512 GiB). All numbers are page numbers: ranges are
 * [vpn, vpn + nrPages), vpn below 2^38.
 *
 * A table is unlinked at once when its last entry goes. It is handed out again only after
 * reclaim(), which the domain calls when a fence has seen every device's walker out of it.
 */
import { eacces, einval, eio, enoent, SysError } from '../../../platform/errno.ts';
import { hex } from '../../../platform/hex.ts';
import type { PteRun } from '../../bus/pte-log.ts';
import {
  clearEntry,
  ENTRIES,
  ENTRY_WORDS,
  EntryReader,
  entryHi,
  entryLo,
  PTE_A,
  PTE_D,
  PTE_R,
  PTE_U,
  PTE_V,
  PTE_W,
  PTE_X,
  publishEntry,
} from '../../hardware/pte.ts';
import { IOMMU_READ, IOMMU_WRITE } from './domain.ts';
import type { TableMemory } from './table-memory.ts';
import { SPAN, WrittenEntries } from './written-entries.ts';

const LEAF = PTE_R | PTE_W | PTE_X;
const ALL_FLAGS = 0x3ff;

/** Pages [vpn, vpn + nrPages). */
export interface PageSpan {
  readonly vpn: number;
  readonly nrPages: number;
}

export interface PageTableShape {
  /** 3 for Sv39x4, 4 for Sv48x4. */
  readonly levels: 3 | 4;
  /** The highest level with leaves: 0 for 4 KiB only, 1 for 2 MiB too, 2 for 1 GiB too. */
  readonly leafLevels: 0 | 1 | 2;
  /** A WRITE-only mapping cannot be read (IOM-3): for a unit with CAP_HI_WRITE_ONLY. */
  readonly writeOnlyLeaves?: boolean;
}

export class PageTable {
  readonly root: number;
  readonly #ram: TableMemory;
  readonly #words: Int32Array;
  /** Valid entries in each page of the memory that is a table of this or another PageTable. */
  readonly #used: Uint16Array;
  readonly #shape: PageTableShape;
  readonly #written: WrittenEntries;
  readonly #entry = new EntryReader();
  /** Tables from the root to the one last descended to; [level] is a table at that level. */
  readonly #path: number[];
  #unlinked: number[] = [];
  /** Leaves that unmap has removed, ever. */
  removedLeaves = 0;

  /**
   * `used` counts entries per page of `ram`, one array for all tables in it. `tell` hears of each
   * run of entries that is written (the same object each time). Without a `root` the tables are
   * empty.
   */
  constructor(
    ram: TableMemory,
    used: Uint16Array,
    shape: PageTableShape,
    tell: (written: PteRun) => void,
    root = ram.allocateRoot(),
  ) {
    this.#ram = ram;
    this.#words = ram.words;
    this.#used = used;
    this.#shape = shape;
    this.#written = new WrittenEntries(ram.words, tell);
    this.root = root;
    this.#path = new Array<number>(shape.levels).fill(this.root);
  }

  /**
   * IOM-1: maps step by step the largest leaf that divides both addresses and does not exceed the
   * rest. On an error (EADDRINUSE over a mapped page, ENOMEM) the first `done` pages are mapped;
   * the caller removes them.
   */
  map(vpn: number, pfn: number, nrPages: number, prot: number): { done: number; error?: SysError } {
    const flags = this.#flagsOf(prot);
    let done = 0;
    try {
      while (done < nrPages) done += this.#mapLeaves(vpn + done, pfn + done, nrPages - done, flags);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      this.#prune(vpn + done, this.#walk(vpn + done)); // tables made on the way to where it failed
      return { done, error };
    }
    return { done };
  }

  /**
   * RISC-V has no W without R, so a device can read a WRITE-only mapping, as with VT-d of 6.1 and
   * 6.12. With 7.2 it cannot (IOM-3); for that the unit has a custom extension.
   */
  #flagsOf(prot: number): number {
    const readable = (prot & IOMMU_READ) !== 0 || !this.#shape.writeOnlyLeaves;
    const rights = (readable ? PTE_R : 0) | ((prot & IOMMU_WRITE) !== 0 ? PTE_W : 0);
    return PTE_V | PTE_U | PTE_A | PTE_D | rights;
  }

  /**
   * Maps leaves of one size in one table, up to the first page that is mapped already. HOT: 40 ns
   * an entry; `npm run bench`, map-1g-4k.
   */
  #mapLeaves(vpn: number, pfn: number, nrPages: number, flags: number): number {
    const level = this.#leafLevel(vpn, pfn, nrPages);
    const span = SPAN[level]!;
    const table = this.#descend(vpn, level);
    const words = this.#words;
    const first = this.#slot(vpn, level);
    const limit = Math.min(Math.floor(nrPages / span), this.#entries(level) - first);
    let at = this.#ram.wordOf(table) + first * ENTRY_WORDS;
    this.#written.before(at);
    let count = 0;
    for (; count < limit && (words[at]! & PTE_V) === 0; count++, at += ENTRY_WORDS) {
      const page = pfn + count * span;
      publishEntry(words, at, entryLo(page, flags), entryHi(page));
    }
    if (count === 0) throw inUse(vpn);
    this.#used[this.#ram.indexOf(table)]! += count;
    this.#written.after(level, vpn, count, this.#ram.wordOf(table) + first * ENTRY_WORDS);
    return count * span;
  }

  #leafLevel(vpn: number, pfn: number, nrPages: number): number {
    let level = this.#shape.leafLevels as number;
    while (level > 0) {
      const span = SPAN[level]!;
      if (nrPages >= span && vpn % span === 0 && pfn % span === 0) break;
      level--;
    }
    return level;
  }

  /** Removes every leaf that has a page in the range, whole (IOM-4). Returns the pages removed. */
  unmap(vpn: number, nrPages: number): number {
    const end = vpn + nrPages;
    let removed = 0;
    let at = vpn;
    while (at < end) {
      const level = this.#walk(at);
      const span = SPAN[level]!;
      const leafVpn = Math.floor(at / span) * span;
      if ((this.#entry.lo & PTE_V) === 0) {
        at = leafVpn + span;
        continue;
      }
      const table = this.#path[level]!;
      const first = this.#slot(at, level);
      const limit = Math.min(this.#entries(level), first + Math.ceil((end - leafVpn) / span));
      this.#written.before(this.#ram.wordOf(table) + first * ENTRY_WORDS);
      const cleared = this.#clearLeaves(table, level, first, limit);
      this.#written.after(level, at, cleared, this.#ram.wordOf(table) + first * ENTRY_WORDS);
      removed += cleared * span;
      at = leafVpn + cleared * span;
      this.#prune(leafVpn, level);
    }
    return removed;
  }

  /** Clears leaves from slot `first` up to the first that is none. HOT, as #mapLeaves. */
  #clearLeaves(table: number, level: number, first: number, limit: number): number {
    const words = this.#words;
    let at = this.#ram.wordOf(table) + first * ENTRY_WORDS;
    let slot = first;
    for (; slot < limit; slot++, at += ENTRY_WORDS) {
      const lo = words[at]!;
      if ((lo & PTE_V) === 0 || (level > 0 && (lo & LEAF) === 0)) break;
      clearEntry(words, at);
    }
    const cleared = slot - first;
    this.removedLeaves += cleared;
    this.#used[this.#ram.indexOf(table)]! -= cleared;
    return cleared;
  }

  /** Unlinks the table at `level` on the path to vpn if it is empty, and its parents likewise. */
  #prune(vpn: number, from: number): void {
    for (let level = from; level < this.#shape.levels - 1; level++) {
      const table = this.#path[level]!;
      if (this.#used[this.#ram.indexOf(table)] !== 0) return;
      const parent = this.#path[level + 1]!;
      const at = this.#ram.wordOf(parent) + this.#slot(vpn, level + 1) * ENTRY_WORDS;
      this.#written.before(at);
      clearEntry(this.#words, at);
      this.#used[this.#ram.indexOf(parent)]! -= 1;
      this.#written.after(level + 1, vpn, 1, at);
      this.#unlinked.push(table);
    }
  }

  /** After a fence: unlinked tables can be used again. */
  reclaim(): void {
    if (this.#unlinked.length === 0) return;
    for (const table of this.#unlinked) this.#ram.release(table);
    this.#unlinked = [];
  }

  get hasUnlinked(): boolean {
    return this.#unlinked.length > 0;
  }

  /** The page that vpn translates to. */
  pfnOf(vpn: number): number | undefined {
    const level = this.#walk(vpn);
    if ((this.#entry.lo & PTE_V) === 0) return undefined;
    return this.#entry.pfn() + (vpn % SPAN[level]!);
  }

  /** Whether a page of the range has a translation. */
  mapsAny(vpn: number, nrPages: number): boolean {
    for (let at = vpn; at < vpn + nrPages; ) {
      const span = SPAN[this.#walk(at)]!;
      if ((this.#entry.lo & PTE_V) !== 0) return true;
      at = Math.floor(at / span) * span + span;
    }
    return false;
  }

  /**
   * Whether the tables have what map() would write (PKF-3): writes nothing. ENOENT: a page is not
   * mapped; EINVAL: a leaf reaches beyond `within`; ESTALE: another page; EACCES: other rights.
   */
  check(vpn: number, pfn: number, nrPages: number, prot: number, within: PageSpan): void {
    const flags = this.#flagsOf(prot);
    for (let at = vpn; at < vpn + nrPages; ) {
      const level = this.#walk(at);
      const span = SPAN[level]!;
      const leafVpn = Math.floor(at / span) * span;
      const { lo } = this.#entry;
      if ((lo & PTE_V) === 0) throw enoent(`the persistent tables have no translation of iova page ${hex(at)}`);
      if (leafVpn < within.vpn || leafVpn + span > within.vpn + within.nrPages) {
        throw einval(`the leaf of iova page ${hex(at)} in the persistent tables reaches beyond the mapping`);
      }
      if (this.#entry.pfn() + at - leafVpn !== pfn + at - vpn) {
        throw new SysError('ESTALE', `iova page ${hex(at)} leads to another page in the persistent tables`);
      }
      if ((lo & ALL_FLAGS) !== flags) throw eacces(`iova page ${hex(at)} has other rights in the persistent tables`);
      at = level === 0 ? this.#skipEqual(at, vpn + nrPages, flags) : leafVpn + span;
    }
  }

  /**
   * The first page behind `at` whose leaf does not go on as the one of `at`. HOT: MAP with
   * LIVE_UPDATE; `npm run bench`, kexec.
   */
  #skipEqual(at: number, end: number, flags: number): number {
    const words = this.#words;
    const slot = this.#slot(at, 0);
    const base = this.#ram.wordOf(this.#path[0]!);
    const limit = Math.min(this.#entries(0), slot + end - at);
    const page = this.#entry.pfn() - slot;
    let next = slot + 1;
    for (; next < limit; next++) {
      const i = base + next * ENTRY_WORDS;
      if (words[i] !== entryLo(page + next, flags) || words[i + 1] !== entryHi(page + next)) break;
    }
    return at + next - slot;
  }

  /**
   * Counts the entries of tables that an earlier kernel has made. Returns the pages that the tables
   * lie in. EIO: they lead to a page that can be none of them.
   */
  adopt(holds: (pfn: number) => boolean): ReadonlySet<number> {
    const pages = new Set<number>([0, 1, 2, 3].map((i) => this.root + i));
    this.#used.fill(0);
    this.#adoptTable(this.root, this.#shape.levels - 1, pages, holds);
    return pages;
  }

  #adoptTable(table: number, level: number, pages: Set<number>, holds: (pfn: number) => boolean): void {
    const at = this.#ram.wordOf(table);
    let used = 0;
    for (let slot = 0; slot < this.#entries(level); slot++) {
      this.#entry.read(this.#words, at + slot * ENTRY_WORDS);
      const { lo } = this.#entry;
      if ((lo & PTE_V) === 0) continue;
      used++;
      if ((lo & LEAF) !== 0) continue;
      const next = this.#entry.pfn();
      if (level === 0 || !holds(next) || pages.has(next)) throw eio('the persistent page tables are damaged');
      pages.add(next);
      this.#adoptTable(next, level - 1, pages, holds);
    }
    this.#used[this.#ram.indexOf(table)] = used;
  }

  /** The translations that lead to a page of [pfn, pfn + nrPages): whether there is one. */
  leadsTo(pfn: number, nrPages: number): boolean {
    return this.#leadsTo(this.root, this.#shape.levels - 1, pfn, pfn + nrPages);
  }

  #leadsTo(table: number, level: number, pfn: number, end: number): boolean {
    const at = this.#ram.wordOf(table);
    for (let slot = 0; slot < this.#entries(level); slot++) {
      this.#entry.read(this.#words, at + slot * ENTRY_WORDS);
      const { lo } = this.#entry;
      if ((lo & PTE_V) === 0) continue;
      const first = this.#entry.pfn();
      if ((lo & LEAF) === 0) {
        if (this.#leadsTo(first, level - 1, pfn, end)) return true;
      } else if (first < end && first + SPAN[level]! > pfn) return true;
    }
    return false;
  }

  /** Rewrites the lowest leaf with the value it has; false when there is none. */
  touchFirstLeaf(): boolean {
    let table = this.root;
    let vpn = 0;
    for (let level = this.#shape.levels - 1; this.#used[this.#ram.indexOf(table)] !== 0; level--) {
      let at = this.#ram.wordOf(table);
      // ends: the table is not empty
      for (; (this.#words[at]! & PTE_V) === 0; at += ENTRY_WORDS) vpn += SPAN[level]!;
      this.#entry.read(this.#words, at);
      const { lo, hi } = this.#entry;
      if (level > 0 && (lo & LEAF) === 0) {
        table = this.#entry.pfn();
        continue;
      }
      this.#written.before(at);
      publishEntry(this.#words, at, lo, hi);
      this.#written.after(level, vpn, 1, at);
      return true;
    }
    return false;
  }

  /** Gives all tables back. The caller has unmapped everything, and a fence has passed. */
  free(): void {
    this.reclaim();
    this.#ram.releaseRoot(this.root);
  }

  /**
   * Finds the entry that decides over vpn, a leaf or an empty one, and returns its level. #entry
   * and #path[level…] are set.
   */
  #walk(vpn: number): number {
    let table = this.root;
    for (let level = this.#shape.levels - 1; ; level--) {
      this.#path[level] = table;
      this.#entry.read(this.#words, this.#ram.wordOf(table) + this.#slot(vpn, level) * ENTRY_WORDS);
      const { lo } = this.#entry;
      if (level === 0 || (lo & PTE_V) === 0 || (lo & LEAF) !== 0) return level;
      table = this.#entry.pfn();
    }
  }

  /**
   * The table at `level` that covers vpn. It is made where there is none. ENOMEM; EADDRINUSE if a
   * leaf is in the way.
   */
  #descend(vpn: number, to: number): number {
    let table = this.root;
    for (let level = this.#shape.levels - 1; level > to; level--) {
      const at = this.#ram.wordOf(table) + this.#slot(vpn, level) * ENTRY_WORDS;
      this.#entry.read(this.#words, at);
      const { lo } = this.#entry;
      if ((lo & LEAF) !== 0) throw inUse(vpn);
      if ((lo & PTE_V) !== 0) {
        table = this.#entry.pfn();
        continue;
      }
      const fresh = this.#ram.allocate();
      this.#used[this.#ram.indexOf(fresh)] = 0;
      this.#written.before(at);
      publishEntry(this.#words, at, entryLo(fresh, PTE_V), entryHi(fresh));
      this.#used[this.#ram.indexOf(table)]! += 1;
      this.#written.after(level, vpn, 1, at);
      table = fresh;
    }
    return table;
  }

  #slot(vpn: number, level: number): number {
    return Math.floor(vpn / SPAN[level]!) % this.#entries(level);
  }

  #entries(level: number): number {
    return level === this.#shape.levels - 1 ? 4 * ENTRIES : ENTRIES;
  }
}

const inUse = (vpn: number): SysError => new SysError('EADDRINUSE', `iova page ${hex(vpn)} is mapped`);
