/**
 * The ops that the units of this driver have in common (struct iommu_ops). A domain of one unit may
 * be used by any other that can walk its tables (ATT-2). So a GSCID is drawn from one pool for all
 * units, and it tags the same domain's translations in each.
 */
import { enomem } from '../../../platform/errno.ts';
import type { IommuDomain, IommuOps } from './domain.ts';

const NR_GSCIDS = 1 << 16;

/** A unit as the domain of a file needs it. */
export interface UnitOfOps {
  /** Devices that an earlier kernel has left in the domain are in it from here on. */
  adopt(domain: IommuDomain): void;
  /** The devices in the domain are left in it, as adopt() has found them. */
  disown(domain: IommuDomain): void;
  /** Takes all devices out of the domain. */
  evict(domain: IommuDomain): void;
  /** Returns when no device is inside a transaction that began before. */
  fence(): void;
}

export class RiscvOps implements IommuOps {
  readonly name = 'riscv';
  readonly units: UnitOfOps[] = [];
  /** First pages of the files that have a domain. */
  readonly takenFiles = new Set<number>();
  readonly #freeGscids: number[] = [];
  #nextGscid = 1;
  /** Those of tables that an earlier kernel has left (PKF-6). */
  readonly #reserved = new Set<number>();

  allocateGscid(): number {
    while (this.#reserved.has(this.#nextGscid)) this.#nextGscid++;
    const gscid = this.#freeGscids.pop() ?? this.#nextGscid++;
    if (gscid >= NR_GSCIDS) throw enomem('no GSCID left');
    return gscid;
  }

  adopt(domain: IommuDomain): void {
    for (const unit of this.units) unit.adopt(domain);
  }

  disown(domain: IommuDomain): void {
    for (const unit of this.units) unit.disown(domain);
  }

  evict(domain: IommuDomain): void {
    for (const unit of this.units) unit.evict(domain);
  }

  fence(): void {
    for (const unit of this.units) unit.fence();
  }

  /** Before the first allocation: a GSCID that is in use already. */
  reserveGscid(gscid: number): void {
    this.#reserved.add(gscid);
  }

  /** Frees a GSCID. No unit may have anything cached under it. */
  freeGscid(gscid: number): void {
    this.#freeGscids.push(gscid);
  }
}
