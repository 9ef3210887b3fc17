/**
 * MSI page tables (IOMMU spec §2.3.3; AIA §8.4, §8.5), in basic mode. They lead from the pages of
 * virtual interrupt files to the pages where the stores go. NOT MODELLED: memory-resident interrupt
 * files. capabilities.MSI_MRIF is 0, so their entries are misconfigured (cause 263).
 */

import type { PhysicalMemory } from '../bus/physical.ts';
import type { MsiWindow } from './context.ts';
import { EntryReader, PTE_V } from './pte.ts';
import { CAUSE_MSI_LOAD_ACCESS, CAUSE_MSI_MISCONFIGURED, CAUSE_MSI_NOT_VALID } from './regs.ts';

const MODE_MASK = 3 << 1;
const MODE_BASIC = 3 << 1;
const BASIC_LO_RESERVED = 0x3f8;
/** C (custom) and bits 62:54. */
const BASIC_HI_RESERVED = 0xffc00000 | 0;

const TWO_31 = 2 ** 31;
const TWO_32 = 2 ** 32;

/** Bytes of an MSI page table entry. */
export const MSI_PTE_BYTES = 16;
const ENTRIES_PER_PAGE = 256;

/** First doubleword of a basic-mode entry to page `pfn`, in halves; the second one is ignored. */
export const msiEntryLo = (pfn: number): number => ((pfn & 0x3fffff) << 10) | MODE_BASIC | PTE_V;
export const msiEntryHi = (pfn: number): number => Math.floor(pfn / (1 << 22));

/** Whether guest page `gpn` is that of a virtual interrupt file (IOMMU spec §2.1.3.6). */
export function isInterruptFile(window: MsiWindow, gpn: number): boolean {
  const lo = ((gpn | 0) ^ window.patternLo) & ~window.maskLo;
  const hi = (Math.floor(gpn / TWO_32) ^ window.patternHi) & ~window.maskHi;
  return lo === 0 && hi === 0;
}

/** extract(gpn, mask): the bits of `gpn` where the mask is 1, packed. */
function fileNumber(window: MsiWindow, gpn: number): number {
  let file = 0;
  let weight = 1;
  for (let bit = 0; bit < 52; bit++) {
    const mask = bit < 32 ? window.maskLo >>> bit : window.maskHi >>> (bit - 32);
    if ((mask & 1) === 0) continue;
    if (Math.floor(gpn / 2 ** bit) % 2 === 1) file += weight;
    weight *= 2;
  }
  return file;
}

export class MsiTable {
  readonly #physical: PhysicalMemory;
  readonly #entry = new EntryReader();
  /** Result of a translation. */
  pfn = 0;

  constructor(physical: PhysicalMemory) {
    this.#physical = physical;
  }

  /**
   * Translates a page that is an interrupt file: IOMMU spec §2.3.3 from step 5 on. Returns the
   * cause of a fault, or 0 with `pfn` set.
   */
  translate(window: MsiWindow, gpn: number): number {
    const file = fileNumber(window, gpn);
    // 6, 7. m | (I × 16)
    const low = window.pfn % TWO_31;
    const pfn = window.pfn - low + (low | Math.floor(file / ENTRIES_PER_PAGE));
    const table = this.#physical.find(pfn);
    if (!table?.isRam) return CAUSE_MSI_LOAD_ACCESS;
    this.#entry.read(table.words, (pfn - table.startPfn) * 1024 + (file % ENTRIES_PER_PAGE) * 4);
    const { lo, hi } = this.#entry;
    // 9–12
    if ((lo & PTE_V) === 0) return CAUSE_MSI_NOT_VALID;
    if ((lo & MODE_MASK) !== MODE_BASIC) return CAUSE_MSI_MISCONFIGURED;
    if ((lo & BASIC_LO_RESERVED) !== 0 || (hi & BASIC_HI_RESERVED) !== 0) return CAUSE_MSI_MISCONFIGURED;
    this.pfn = this.#entry.pfn();
    return 0;
  }
}
