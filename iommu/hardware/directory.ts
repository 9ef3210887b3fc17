/**
 * The device directory (IOMMU spec §2.1, §2.3.1) leads from a device id to its device context.
 *
 * NOT MODELLED: process contexts (PDTV), ATS and PRI, hardware update of A and D, big endian. The
 * unit does not advertise them, so a context that asks for them is misconfigured.
 */

import type { PhysicalMemory } from '../bus/physical.ts';
import { BARE, type DeviceContext, PASS_THROUGH, type Scheme, SV39, SV39X4, SV48, SV48X4 } from './context.ts';
import { EntryReader, PTE_V } from './pte.ts';
import {
  CAP_MSI_FLAT,
  CAP_SV48,
  CAP_SV48X4,
  CAUSE_ALL_DISALLOWED,
  CAUSE_DDT_LOAD_ACCESS,
  CAUSE_DDT_MISCONFIGURED,
  CAUSE_DDT_NOT_VALID,
  CAUSE_TYPE_DISALLOWED,
  DDTP_1LVL,
  DDTP_BARE,
  DDTP_MODE_MASK,
  DDTP_OFF,
  REG,
} from './regs.ts';
import { registerWord } from './unit-memory.ts';

// Words of a device context: 32 bytes, or 64 with MSI page tables.
const TC = 0;
const IOHGATP = 2;
const TA = 4;
const FSC = 6;
const MSIPTP = 8;
const MSI_MASK = 10;
const MSI_PATTERN = 12;
const RESERVED = 14;

const TC_V = 1 << 0;
const TC_DTF = 1 << 4;

/** Bits of a non-leaf entry or pointer that must be 0: 9:1 and 63:54. */
const ENTRY_LO_RESERVED = 0x3fe;
const ENTRY_HI_RESERVED = 0xffc00000 | 0;

/** A context, or the cause of the fault when none can be found. */
export type Located = DeviceContext | number;

export class Directory {
  readonly #registers: Int32Array;
  readonly #physical: PhysicalMemory;
  readonly #entry = new EntryReader();
  readonly #extended: boolean;
  readonly #sv48: boolean;
  readonly #sv48x4: boolean;
  /** MSI mask and pattern are below this: 2 ^ (MGPAW − 12) (§2.1.3.6). */
  readonly #gpaPages: number;

  constructor(registers: Int32Array, physical: PhysicalMemory) {
    this.#registers = registers;
    this.#physical = physical;
    const capabilities = registers[registerWord(REG.capabilities)]!;
    this.#extended = (capabilities & CAP_MSI_FLAT) !== 0;
    this.#sv48 = (capabilities & CAP_SV48) !== 0;
    this.#sv48x4 = (capabilities & CAP_SV48X4) !== 0;
    this.#gpaPages = (this.#sv48x4 ? SV48X4 : SV39X4).pages;
  }

  /** §2.3 steps 1–6 and §2.3.1 for a transaction without process_id. */
  locate(did: number): Located {
    this.#entry.read(this.#registers, registerWord(REG.ddtp));
    const mode = this.#entry.lo & DDTP_MODE_MASK;
    if (mode === DDTP_OFF) return CAUSE_ALL_DISALLOWED;
    if (mode === DDTP_BARE) return PASS_THROUGH;
    const leafBits = this.#extended ? 6 : 7;
    const levels = mode - DDTP_1LVL + 1;
    if (did >= 2 ** (leafBits + 9 * (levels - 1))) return CAUSE_TYPE_DISALLOWED;
    let pfn = this.#entry.pfn();
    for (let level = levels - 1; level > 0; level--) {
      const table = this.#physical.find(pfn);
      if (!table?.isRam) return CAUSE_DDT_LOAD_ACCESS;
      const index = (did >>> (leafBits + 9 * (level - 1))) & 511;
      this.#entry.read(table.words, (pfn - table.startPfn) * 1024 + index * 2);
      const { lo, hi } = this.#entry;
      if ((lo & PTE_V) === 0) return CAUSE_DDT_NOT_VALID;
      if ((lo & ENTRY_LO_RESERVED) !== 0 || (hi & ENTRY_HI_RESERVED) !== 0) return CAUSE_DDT_MISCONFIGURED;
      pfn = this.#entry.pfn();
    }
    const table = this.#physical.find(pfn);
    if (!table?.isRam) return CAUSE_DDT_LOAD_ACCESS;
    const index = did & (this.#extended ? 63 : 127);
    return this.#context(table.words, (pfn - table.startPfn) * 1024 + index * (this.#extended ? 16 : 8));
  }

  /**
   * Reads and checks the context that begins at words[at]. Its writer sets V last and clears V
   * first.
   */
  #context(words: Int32Array, at: number): Located {
    const copy = new Int32Array(16);
    const length = this.#extended ? 16 : 8;
    do {
      for (let i = 0; i < length; i++) copy[i] = Atomics.load(words, at + i);
    } while (Atomics.load(words, at + TC) !== copy[TC]);
    if ((copy[TC]! & TC_V) === 0) return CAUSE_DDT_NOT_VALID;
    return this.#decode(copy) ?? CAUSE_DDT_MISCONFIGURED;
  }

  /** §2.1.4: undefined if the context is misconfigured. */
  #decode(dc: Int32Array): DeviceContext | undefined {
    // Only V and DTF of tc are supported, not EN_ATS, EN_PRI, T2GPA, PDTV, PRPR, GADE, SADE, DPE,
    // SBE, SXL.
    if ((dc[TC]! & ~(TC_V | TC_DTF)) !== 0 || dc[TC + 1] !== 0) return undefined;
    if ((dc[TA]! & 0xfff) !== 0 || dc[TA + 1] !== 0) return undefined;
    if ((dc[FSC + 1]! & 0x0ffff000) !== 0) return undefined;
    const firstStage = this.#firstStage(dc[FSC + 1]! >>> 28);
    const secondStage = this.#secondStage(dc[IOHGATP + 1]! >>> 28);
    const secondPfn = pfnOf(dc, IOHGATP);
    if (!firstStage || !secondStage) return undefined;
    if (secondStage !== BARE && secondPfn % 4 !== 0) return undefined;
    const msiMode = dc[MSIPTP + 1]! >>> 28;
    if (msiMode > 1 || (msiMode === 1 && secondStage === BARE)) return undefined;
    if ((dc[MSIPTP + 1]! & 0x0ffff000) !== 0 || dc[RESERVED] !== 0 || dc[RESERVED + 1] !== 0) return undefined;
    if (long(dc, MSI_MASK) >= this.#gpaPages || long(dc, MSI_PATTERN) >= this.#gpaPages) return undefined;
    return {
      dtf: (dc[TC]! & TC_DTF) !== 0,
      firstStage,
      firstPfn: pfnOf(dc, FSC),
      pscid: dc[TA]! >>> 12,
      secondStage,
      secondPfn,
      gscid: (dc[IOHGATP + 1]! >>> 12) & 0xffff,
      msi: msiMode === 0 ? undefined : window(dc),
    };
  }

  #firstStage(mode: number): Scheme | undefined {
    if (mode === 0) return BARE;
    if (mode === 8) return SV39;
    return mode === 9 && this.#sv48 ? SV48 : undefined;
  }

  #secondStage(mode: number): Scheme | undefined {
    if (mode === 0) return BARE;
    if (mode === 8) return SV39X4;
    return mode === 9 && this.#sv48x4 ? SV48X4 : undefined;
  }
}

/** PPN (bits 43:0) of iohgatp, iosatp or msiptp. */
const pfnOf = (dc: Int32Array, at: number): number => (dc[at + 1]! & 0xfff) * 2 ** 32 + (dc[at]! >>> 0);

/** A doubleword as a number; exact where it matters, below 2^53. */
const long = (dc: Int32Array, at: number): number => (dc[at + 1]! >>> 0) * 2 ** 32 + (dc[at]! >>> 0);

const window = (dc: Int32Array): DeviceContext['msi'] => ({
  pfn: pfnOf(dc, MSIPTP),
  maskLo: dc[MSI_MASK]! >>> 0,
  maskHi: dc[MSI_MASK + 1]! >>> 0,
  patternLo: dc[MSI_PATTERN]! >>> 0,
  patternHi: dc[MSI_PATTERN + 1]! >>> 0,
});
