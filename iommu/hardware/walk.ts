/**
 * Table walks: first stage, MSI page table, second stage (IOMMU spec §2.3 steps 17–19; priv-isa
 * §10.3.2, §18.5). All transactions have user privilege. The unit never sets A and D (Svade).
 */

import type { PhysicalMemory } from '../bus/physical.ts';
import { BARE, type DeviceContext, type Scheme } from './context.ts';
import type { InterruptFileEntry } from './mrif.ts';
import { isInterruptFile, MsiTable } from './msi.ts';
import {
  EntryReader,
  PTE_A,
  PTE_D,
  PTE_G,
  PTE_HI_N,
  PTE_HI_RESERVED,
  PTE_R,
  PTE_U,
  PTE_V,
  PTE_W,
  PTE_X,
} from './pte.ts';
import {
  CAUSE_READ_ACCESS,
  CAUSE_READ_GUEST_PAGE,
  CAUSE_READ_PAGE,
  CAUSE_WRITE_ACCESS,
  CAUSE_WRITE_GUEST_PAGE,
  CAUSE_WRITE_PAGE,
} from './regs.ts';
import type { WalkAbilities } from './unit-memory.ts';

const PAGES_52 = 2 ** 52;
const NAPOT_PAGES = 16;

const OK = 0;
const PAGE_FAULT = 1;
const ACCESS_FAULT = 2;

/** `guestOffset` of a fault when the guest address has the offset of the iova. */
export const SAME_OFFSET = -1;

/** One thread's walker. After translate() its fields hold the result. */
export class Walker {
  readonly #physical: PhysicalMemory;
  readonly #msi: MsiTable;
  readonly #writeOnlyLeaves: boolean;
  readonly #entry = new EntryReader();
  readonly #nestedEntry = new EntryReader();

  /** Page that the iova's page translates to. */
  pfn = 0;
  /** The translation holds for the aligned block of this many pages around it. */
  pages = 0;
  readable = false;
  /** W and D in all stages. */
  writable = false;
  /** First-stage leaf with G set. */
  global = false;

  /**
   * Set after a guest-page fault: the guest page, and the offset in it with iotval2's low bits, or
   * SAME_OFFSET.
   */
  guestPage = 0;
  guestOffset = SAME_OFFSET;

  // The leaf that the last #walk found.
  #leafPfn = 0;
  #leafPages = 0;
  #leafLo = 0;

  /** `abilities`: of the unit. */
  constructor(
    physical: PhysicalMemory,
    { writeOnlyLeaves = false, interruptFiles = false }: Partial<WalkAbilities> = {},
  ) {
    this.#physical = physical;
    this.#writeOnlyLeaves = writeOnlyLeaves;
    this.#msi = new MsiTable(physical, interruptFiles);
  }

  /** After TO_INTERRUPT_FILE: what the page leads to. */
  get interruptFile(): InterruptFileEntry {
    return this.#msi;
  }

  /**
   * Translates page `vpn` under context `dc`: 0; the cause of the fault; or TO_INTERRUPT_FILE,
   * which is no translation.
   */
  // HOT (IOTLB miss: 0.2 µs for three levels)
  translate(dc: DeviceContext, vpn: number, write: boolean): number {
    this.pfn = vpn;
    this.pages = PAGES_52;
    this.readable = true;
    this.writable = true;
    this.global = false;
    if (dc.firstStage !== BARE) {
      const cause = this.#first(dc, vpn, write);
      if (cause !== 0) return cause;
    }
    if (dc.msi !== undefined && isInterruptFile(dc.msi, this.pfn)) {
      const cause = this.#msi.translate(dc.msi, this.pfn);
      this.pfn = this.#msi.pfn;
      this.pages = 1;
      return cause;
    }
    return dc.secondStage === BARE ? 0 : this.#second(dc, write);
  }

  #first(dc: DeviceContext, vpn: number, write: boolean): number {
    const { pages } = dc.firstStage;
    // All bits above the highest one that is translated equal it.
    const canonical = vpn < pages || vpn >= PAGES_52 - pages;
    const status = canonical ? this.#walk(this.#entry, dc.firstStage, dc.firstPfn, vpn, write, dc) : PAGE_FAULT;
    if (status === PAGE_FAULT) return write ? CAUSE_WRITE_PAGE : CAUSE_READ_PAGE;
    if (status === ACCESS_FAULT) return write ? CAUSE_WRITE_ACCESS : CAUSE_READ_ACCESS;
    if (status !== OK) return status; // of the second stage, on the way
    this.#take(vpn);
    this.global = (this.#leafLo & PTE_G) !== 0;
    return 0;
  }

  /** Second stage of the gpa page that is in `pfn`. */
  #second(dc: DeviceContext, write: boolean): number {
    const gpn = this.pfn;
    const cause = this.#guest(dc, gpn, write);
    if (cause !== 0) {
      this.guestPage = gpn;
      this.guestOffset = SAME_OFFSET;
      return cause;
    }
    this.#take(gpn);
    return 0;
  }

  /**
   * Walks the second stage for guest page `gpn`. Returns 0, or the cause. The leaf is in #leaf….
   */
  #guest(dc: DeviceContext, gpn: number, write: boolean): number {
    const inside = gpn < dc.secondStage.pages;
    const status = inside
      ? this.#walk(this.#nestedEntry, dc.secondStage, dc.secondPfn, gpn, write, undefined)
      : PAGE_FAULT;
    if (status === PAGE_FAULT) return write ? CAUSE_WRITE_GUEST_PAGE : CAUSE_READ_GUEST_PAGE;
    if (status === ACCESS_FAULT) return write ? CAUSE_WRITE_ACCESS : CAUSE_READ_ACCESS;
    return 0;
  }

  /** Adds the leaf just found for `page` to the result. */
  #take(page: number): void {
    const pages = this.#leafPages;
    this.pfn = this.#leafPfn + (page % pages);
    this.pages = Math.min(this.pages, pages);
    this.readable &&= (this.#leafLo & PTE_R) !== 0;
    this.writable &&= (this.#leafLo & (PTE_W | PTE_D)) === (PTE_W | PTE_D);
  }

  /**
   * Walks one stage. Returns OK, PAGE_FAULT, ACCESS_FAULT, or the cause of a second-stage fault at
   * a table of the first stage. If `nested` has a second stage, the addresses of those tables are
   * guest addresses.
   */
  #walk(
    entry: EntryReader,
    scheme: Scheme,
    root: number,
    page: number,
    write: boolean,
    nested?: DeviceContext,
  ): number {
    let table = root;
    let mask = (512 << scheme.extraBits) - 1;
    let pages = 512 ** (scheme.levels - 1);
    for (;;) {
      const index = Math.floor(page / pages) & mask;
      let pfn = table;
      if (nested !== undefined && nested.secondStage !== BARE) {
        const cause = this.#guest(nested, table, false);
        if (cause !== 0) return this.#implicitFault(cause, table, index, write);
        pfn = this.#leafPfn + (table % this.#leafPages);
      }
      const range = this.#physical.find(pfn);
      if (range === undefined || !range.isRam || pfn + (index >>> 9) >= range.endPfn) return ACCESS_FAULT;
      entry.read(range.words, (pfn - range.startPfn) * 1024 + index * 2);
      const { lo, hi } = entry;
      if ((lo & PTE_V) === 0 || (hi & PTE_HI_RESERVED) !== 0) return PAGE_FAULT;
      if ((lo & (PTE_R | PTE_W)) === PTE_W && !this.#writeOnlyLeaves) return PAGE_FAULT;
      if ((lo & (PTE_R | PTE_W | PTE_X)) !== 0) return this.#leaf(entry, pages, write);
      if (pages === 1 || (lo & (PTE_A | PTE_D | PTE_U)) !== 0 || (hi & PTE_HI_N) !== 0) return PAGE_FAULT;
      table = entry.pfn();
      mask = 511;
      pages /= 512;
    }
  }

  #leaf(entry: EntryReader, pages: number, write: boolean): number {
    const { lo, hi } = entry;
    const need = write ? PTE_U | PTE_A | PTE_W | PTE_D : PTE_U | PTE_A | PTE_R;
    if ((lo & need) !== need) return PAGE_FAULT;
    let pfn = entry.pfn();
    let leafPages = pages;
    if ((hi & PTE_HI_N) !== 0) {
      // Svnapot: 64 KiB is the only size.
      if (pages !== 1 || pfn % NAPOT_PAGES !== NAPOT_PAGES / 2) return PAGE_FAULT;
      pfn -= NAPOT_PAGES / 2;
      leafPages = NAPOT_PAGES;
    }
    if (pfn % leafPages !== 0) return PAGE_FAULT;
    this.#leafPfn = pfn;
    this.#leafPages = leafPages;
    this.#leafLo = lo;
    return OK;
  }

  /**
   * A second-stage fault at a table of the first stage. It is reported with the type of the
   * original access (IOMMU spec §3.2).
   */
  #implicitFault(cause: number, table: number, index: number, write: boolean): number {
    this.guestPage = table;
    this.guestOffset = (index * 8) | 1;
    if (!write) return cause;
    return cause === CAUSE_READ_GUEST_PAGE ? CAUSE_WRITE_GUEST_PAGE : CAUSE_WRITE_ACCESS;
  }
}
