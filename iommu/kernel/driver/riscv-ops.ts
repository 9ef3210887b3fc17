/**
 * The ops that the units of this driver have in common (struct iommu_ops). A domain of one unit may
 * be used by any other that can walk its tables (ATT-2). So a GSCID is drawn from one pool for all
 * units, and it tags the same domain's translations in each.
 */
import { enomem } from '../../../platform/errno.ts';
import type { IommuOps } from './domain.ts';

const NR_GSCIDS = 1 << 16;

export class RiscvOps implements IommuOps {
  readonly name = 'riscv';
  readonly #freeGscids: number[] = [];
  #nextGscid = 1;

  allocateGscid(): number {
    const gscid = this.#freeGscids.pop() ?? this.#nextGscid++;
    if (gscid >= NR_GSCIDS) throw enomem('no GSCID left');
    return gscid;
  }

  /** Frees a GSCID. No unit may have anything cached under it. */
  freeGscid(gscid: number): void {
    this.#freeGscids.push(gscid);
  }
}
