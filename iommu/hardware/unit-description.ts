/**
 * The description of an IOMMU unit that firmware gives a kernel, as a devicetree or ACPI would. It
 * tells what the registers do not.
 */

/** log2 of a page size: 4 KiB, 2 MiB, 1 GiB. */
export type Pgshift = 12 | 21 | 30;
export const PGSHIFTS: readonly Pgshift[] = [12, 21, 30];

export interface UnitDescription {
  readonly name: string;
  /** Devices behind it cannot bypass the CPU's caches. */
  readonly coherent: boolean;
  /** Page sizes it translates: from the smallest to the largest. */
  readonly minPgshift: Pgshift;
  readonly maxPgshift: Pgshift;
  /** Iovas reach up to 2^apertureBits. */
  readonly apertureBits: number;
  /** It remaps interrupts: a device can raise only its own. */
  readonly isolatedMsi: boolean;
  /** MSIs are translated as any store, in a window that the users of devices choose. */
  readonly donatedMsi?: boolean;
}

/** One unit of a board. */
export interface BoardUnit {
  readonly description: UnitDescription;
  /** Its register file and the words of its agents (unit-memory.ts). */
  readonly memory: SharedArrayBuffer;
}
