/** A decoded device context, as the unit uses it, and the two contexts that need no directory. */

/**
 * A translation scheme: its levels of page table and the pages of its address space. 0 levels mean
 * no translation (Bare).
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

/** The context of ddtp.iommu_mode Bare, or of a device without a unit in front: iova = pa. */
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
