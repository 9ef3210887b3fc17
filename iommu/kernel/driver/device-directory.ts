/**
 * The driver's side of the device directory (IOMMU spec §2.1, §2.2); it is the one writer. The
 * directory has three levels, so that any did (24 bits) has a place. A table is made when a device
 * in it is first attached. Contexts are of the extended format (64 bytes) where the unit has
 * MSI_FLAT, of the base format (32 bytes) elsewhere.
 */

import { clearEntry, ENTRY_WORDS, EntryReader, entryHi, entryLo, publishEntry } from '../../hardware/pte.ts';
import { DDTP_3LVL, DDTP_MODE_MASK, DDTP_OFF, REG } from '../../hardware/regs.ts';
import type { IommuUnit } from '../../hardware/unit.ts';
import type { TableMemory } from './table-memory.ts';

const DDTE_V = 1 << 0;
const TC_V = 1 << 0;
/** iohgatp: mode in bits 63:60, GSCID in 59:44, page in 43:0. */
const IOHGATP_MODE = { 3: 8, 4: 9 } as const;
const MSIPTP_FLAT = 1;

/** Low bits of the did that index a leaf, and of each of the two levels above (§2.1). */
const EXTENDED = { leafBits: 6, bytes: 64 } as const;
const BASE = { leafBits: 7, bytes: 32 } as const;
const TABLE_BITS = 9;

/** The contents of a device's context. */
export interface DeviceContext {
  readonly levels: 3 | 4;
  readonly gscid: number;
  readonly rootPfn: number;
  /** MSI page table (AIA §8.4): stores to a page with (vpn ^ pattern) & ~mask = 0 go through it. */
  readonly msi?: { readonly tablePfn: number; readonly pattern: number; readonly mask: number };
}

/** A table of contexts: its first did, and its place. */
interface LeafTable {
  readonly did: number;
  readonly at: number;
}

/** The context of a device, as far as it says whose it is. */
export interface FoundContext {
  readonly did: number;
  readonly gscid: number;
  readonly rootPfn: number;
}

export class DeviceDirectory {
  readonly #ram: TableMemory;
  readonly root: number;
  readonly #format: typeof EXTENDED | typeof BASE;
  readonly #entry = new EntryReader();

  /**
   * Turns translation on with an empty directory: every device's DMA faults until the device is
   * given a context. With the root of an earlier kernel's directory nothing is written if the unit
   * uses that one (PKF-6).
   */
  constructor(unit: IommuUnit, ram: TableMemory, extended: boolean, root = ram.allocate()) {
    this.#ram = ram;
    this.#format = extended ? EXTENDED : BASE;
    this.root = root;
    const ddtp = (BigInt(root) << 10n) | BigInt(DDTP_3LVL);
    if (unit.readRegister(REG.ddtp, 8) === ddtp) return;
    unit.writeRegister(REG.ddtp, 8, BigInt(DDTP_OFF));
    unit.writeRegister(REG.ddtp, 8, ddtp);
    if ((unit.read32(REG.ddtp) & DDTP_MODE_MASK) !== DDTP_3LVL) throw new Error('IOMMU: no 3-level device directory');
  }

  /** Writes the context of a device that has none. */
  publish(did: number, context: DeviceContext): void {
    const { words } = this.#ram;
    const at = this.#contextOf(did);
    const { msi } = context;
    words[at + 2] = context.rootPfn;
    words[at + 3] =
      (IOHGATP_MODE[context.levels] << 28) | (context.gscid << 12) | Math.floor(context.rootPfn / 2 ** 32) | 0;
    words.fill(0, at + 4, at + this.#format.bytes / 4);
    if (msi) {
      words[at + 8] = msi.tablePfn;
      words[at + 9] = (MSIPTP_FLAT << 28) | Math.floor(msi.tablePfn / 2 ** 32);
      words[at + 10] = msi.mask;
      words[at + 12] = msi.pattern;
    }
    publishEntry(words, at, TC_V, 0);
  }

  /** The contexts that there are. */
  *contexts(): Generator<FoundContext, void> {
    const { words } = this.#ram;
    const { leafBits, bytes } = this.#format;
    for (const { did, at } of this.#leaves(this.root, leafBits + TABLE_BITS, 0)) {
      for (let i = 0; i < 1 << leafBits; i++) {
        const context = at + (i * bytes) / 4;
        if ((Atomics.load(words, context) & TC_V) === 0) continue;
        const hi = words[context + 3]!;
        const rootPfn = (hi & 0xfff) * 2 ** 32 + (words[context + 2]! >>> 0);
        yield { did: did + i, gscid: (hi >>> 12) & 0xffff, rootPfn };
      }
    }
  }

  *#leaves(table: number, shift: number, did: number): Generator<LeafTable, void> {
    const base = this.#ram.wordOf(table);
    if (shift < this.#format.leafBits) {
      yield { did, at: base };
      return;
    }
    for (let slot = 0; slot < 1 << TABLE_BITS; slot++) {
      this.#entry.read(this.#ram.words, base + slot * ENTRY_WORDS);
      if ((this.#entry.lo & DDTE_V) === 0) continue;
      yield* this.#leaves(this.#entry.pfn(), shift - TABLE_BITS, did + slot * 2 ** shift);
    }
  }

  /** Takes a device's context away. The caller then sends IODIR.INVAL_DDT and a fence. */
  clear(did: number): void {
    clearEntry(this.#ram.words, this.#contextOf(did));
  }

  /** Index of the context's first word; makes the tables on the way. */
  #contextOf(did: number): number {
    const { leafBits, bytes } = this.#format;
    let table = this.root;
    for (const shift of [leafBits + TABLE_BITS, leafBits]) {
      const at = this.#ram.wordOf(table) + ((did >>> shift) & ((1 << TABLE_BITS) - 1)) * ENTRY_WORDS;
      this.#entry.read(this.#ram.words, at);
      if ((this.#entry.lo & DDTE_V) !== 0) {
        table = this.#entry.pfn();
        continue;
      }
      table = this.#ram.allocate();
      publishEntry(this.#ram.words, at, entryLo(table, DDTE_V), entryHi(table));
    }
    return this.#ram.wordOf(table) + (did & ((1 << leafBits) - 1)) * (bytes / 4);
  }
}
