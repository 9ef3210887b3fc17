/**
 * MSI page tables (IOMMU spec §2.3.3; AIA §8.4, §8.5). They lead from the pages of virtual
 * interrupt files to the pages where the stores go (basic mode), or to files in memory (MRIF mode,
 * mrif.ts).
 *
 * Software may change an entry from one mode to the other in place, by one 64-bit store to its
 * first half, and no message is lost. The second half counts in MRIF mode only; it is written
 * before. From one file to another an entry goes by way of basic mode, with a fence each.
 */

import type { PhysicalMemory } from '../bus/physical.ts';
import type { MsiWindow } from './context.ts';
import type { InterruptFileEntry } from './mrif.ts';
import { EntryReader, entryPfn, PTE_V } from './pte.ts';
import { CAUSE_MSI_LOAD_ACCESS, CAUSE_MSI_MISCONFIGURED, CAUSE_MSI_NOT_VALID } from './regs.ts';

const MODE_MASK = 3 << 1;
const MODE_BASIC = 3 << 1;
const MODE_MRIF = 1 << 1;
const BASIC_LO_RESERVED = 0x3f8;
const MRIF_LO_RESERVED = 0x78;
/** C (custom) and bits 62:54, in both modes. */
const HI_RESERVED = 0xffc00000 | 0;
/** Second half in MRIF mode: NPPN is 53:10, NID is 9:0 and bit 60. */
const NOTICE_HI_RESERVED = 0xefc00000 | 0;
const NID_LO = 0x3ff;
const NID_HI = 1 << 28;
const NID_TOP = 1 << 10;

/** In place of a cause: the page is that of a file in memory. */
export const TO_INTERRUPT_FILE = -2;

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

export class MsiTable implements InterruptFileEntry {
  readonly #physical: PhysicalMemory;
  readonly #interruptFiles: boolean;
  readonly #entry = new EntryReader();
  /** Result of a translation in basic mode. */
  pfn = 0;
  // Results in MRIF mode.
  filePfn = 0;
  fileOffset = 0;
  noticePfn = 0;
  notice = 0;

  /** `interruptFiles`: the unit has files in memory. */
  constructor(physical: PhysicalMemory, interruptFiles: boolean) {
    this.#physical = physical;
    this.#interruptFiles = interruptFiles;
  }

  /**
   * Translates a page that is an interrupt file: IOMMU spec §2.3.3 from step 5 on. Returns the
   * cause of a fault; 0 with `pfn` set; or TO_INTERRUPT_FILE with the fields of
   * InterruptFileEntry.
   */
  translate(window: MsiWindow, gpn: number): number {
    const file = fileNumber(window, gpn);
    // 6, 7. m | (I × 16)
    const low = window.pfn % TWO_31;
    const pfn = window.pfn - low + (low | Math.floor(file / ENTRIES_PER_PAGE));
    const table = this.#physical.find(pfn);
    if (!table?.isRam) return CAUSE_MSI_LOAD_ACCESS;
    const at = (pfn - table.startPfn) * 1024 + (file % ENTRIES_PER_PAGE) * 4;
    this.#entry.read(table.words, at);
    const { lo, hi } = this.#entry;
    // 9–12; an entry with C is misconfigured, too
    if ((lo & PTE_V) === 0) return CAUSE_MSI_NOT_VALID;
    if ((hi & HI_RESERVED) !== 0) return CAUSE_MSI_MISCONFIGURED;
    if ((lo & MODE_MASK) === MODE_MRIF) return this.#inMemory(table.words, at);
    // 13
    if ((lo & MODE_MASK) !== MODE_BASIC || (lo & BASIC_LO_RESERVED) !== 0) return CAUSE_MSI_MISCONFIGURED;
    this.pfn = this.#entry.pfn();
    return 0;
  }

  /** 14. MRIF mode: the first half of the entry at words[at] has been read. */
  #inMemory(words: Int32Array, at: number): number {
    const { lo } = this.#entry;
    if (!this.#interruptFiles || (lo & MRIF_LO_RESERVED) !== 0) return CAUSE_MSI_MISCONFIGURED;
    const noticeLo = Atomics.load(words, at + 2);
    const noticeHi = Atomics.load(words, at + 3);
    if ((noticeHi & NOTICE_HI_RESERVED) !== 0) return CAUSE_MSI_MISCONFIGURED;
    // bits 53:7 are the address's bits 55:9
    this.filePfn = this.#entry.pfn();
    this.fileOffset = ((lo >>> 7) & 7) * 512;
    this.noticePfn = entryPfn(noticeLo, noticeHi);
    this.notice = (noticeLo & NID_LO) | ((noticeHi & NID_HI) !== 0 ? NID_TOP : 0);
    return TO_INTERRUPT_FILE;
  }
}
