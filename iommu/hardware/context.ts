/** A device context as the unit uses it, decoded; and the two that need no directory. */

/**
 * Levels of page table and pages of address space of a translation scheme; 0 levels: no translation
 * (Bare).
 */
export interface Scheme {
  readonly levels: number;
  /** Index bits of the root beyond 9: 2 for the x4 schemes. */
  readonly extraBits: number;
  /** First stage: pages in each canonical half. Second stage: pages in all. */
  readonly pages: number;
}

export const BARE: Scheme = { levels: 0, extraBits: 0, pages: 2 ** 52 };
export const SV39: Scheme = { levels: 3, extraBits: 0, pages: 2 ** 26 };
export const SV48: Scheme = { levels: 4, extraBits: 0, pages: 2 ** 35 };
export const SV39X4: Scheme = { levels: 3, extraBits: 2, pages: 2 ** 29 };
export const SV48X4: Scheme = { levels: 4, extraBits: 2, pages: 2 ** 38 };

/**
 * The pages of virtual interrupt files (IOMMU spec §2.1.3.6), 52-bit numbers in halves of 32 and 20
 * bits.
 */
export interface MsiWindow {
  /** Root of the MSI page table. */
  readonly pfn: number;
  readonly maskLo: number;
  readonly maskHi: number;
  readonly patternLo: number;
  readonly patternHi: number;
}

export interface DeviceContext {
  /** tc.DTF: faults of translation are not reported. */
  readonly dtf: boolean;
  readonly firstStage: Scheme;
  readonly firstPfn: number;
  readonly pscid: number;
  readonly secondStage: Scheme;
  readonly secondPfn: number;
  readonly gscid: number;
  readonly msi: MsiWindow | undefined;
}

/** ddtp.iommu_mode Bare, or no unit in front: iova = pa. */
export const PASS_THROUGH: DeviceContext = {
  dtf: false,
  firstStage: BARE,
  firstPfn: 0,
  pscid: 0,
  secondStage: BARE,
  secondPfn: 0,
  gscid: 0,
  msi: undefined,
};
