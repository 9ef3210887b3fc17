/** A domain of the RISC-V IOMMU driver: one second-stage page table and one GSCID. */
import { enodev, SysError } from '../../../platform/errno.ts';
import type { CommandQueue } from './command-queue.ts';
import type { DeviceContext, DeviceDirectory } from './device-directory.ts';
import type { IommuBackend, IommuDomain } from './domain.ts';
import type { PageTable } from './page-table.ts';

/** What the domains of one unit share. */
export interface DomainParts {
  readonly driver: IommuBackend;
  readonly commands: CommandQueue;
  readonly directory: DeviceDirectory;
  /** Which domain each attached device is in. */
  readonly attached: Map<number, RiscvDomain>;
  readonly apertureEndVpn: number;
  readonly pgsizes: bigint;
  readonly coherent: boolean;
  /** ATT-1: errno of a mapping beyond the aperture. */
  readonly outsideAperture: 'EFAULT' | 'ERANGE';
  readonly levels: 3 | 4;
  /** The unit translates MSIs in a fixed window by this table. */
  readonly msi: DeviceContext['msi'];
  /** Where MSIs end. */
  readonly doorbellPfn: number;
  readonly onFree: (domain: RiscvDomain) => void;
}

/** Leaves that are invalidated one by one; for more, the domain is forgotten whole. */
const FEW_LEAVES = 4;

export class RiscvDomain implements IommuDomain {
  readonly driver: IommuBackend;
  readonly pgsizes: bigint;
  readonly coherent: boolean;
  readonly apertureVpn = 0;
  readonly apertureEndVpn: number;
  readonly gscid: number;
  readonly #parts: DomainParts;
  readonly #table: PageTable;
  /** First pages of what was unmapped since the last flush. */
  #unmapped: number[] = [];
  #manyUnmapped = false;

  constructor(parts: DomainParts, gscid: number, table: PageTable) {
    this.#parts = parts;
    this.#table = table;
    this.gscid = gscid;
    this.driver = parts.driver;
    this.pgsizes = parts.pgsizes;
    this.coherent = parts.coherent;
    this.apertureEndVpn = parts.apertureEndVpn;
  }

  map(vpn: number, pfn: number, nrPages: number, prot: number): void {
    if (vpn < this.apertureVpn || vpn + nrPages > this.apertureEndVpn) {
      throw new SysError(this.#parts.outsideAperture, `iova page 0x${vpn.toString(16)} is outside the aperture`);
    }
    let { done, error } = this.#table.map(vpn, pfn, nrPages, prot);
    if (error?.code === 'ENOMEM' && this.#table.hasUnlinked) {
      this.flush();
      const rest = this.#table.map(vpn + done, pfn + done, nrPages - done, prot);
      done += rest.done;
      error = rest.error;
    }
    if (!error) return;
    this.unmap(vpn, done);
    this.flush();
    throw error;
  }

  unmap(vpn: number, nrPages: number): number {
    const removed = this.#table.unmap(vpn, nrPages);
    if (removed > 0) {
      this.#unmapped.push(vpn);
      this.#manyUnmapped ||= !isOneLeaf(removed) || this.#unmapped.length > FEW_LEAVES;
    }
    return removed;
  }

  flush(): void {
    const { commands } = this.#parts;
    if (this.#unmapped.length === 0) return;
    // IOMMU spec §3.1.1: an invalidation by address leaves non-leaf entries alone, so a table may be freed only after one of all.
    if (this.#manyUnmapped || this.#table.hasUnlinked) commands.invalidateDomain(this.gscid);
    else for (const vpn of this.#unmapped) commands.invalidateLeaf(this.gscid, vpn);
    commands.fence();
    this.#unmapped = [];
    this.#manyUnmapped = false;
    this.#table.reclaim();
  }

  pfnOf(vpn: number): number | undefined {
    return vpn < this.apertureEndVpn ? this.#table.pfnOf(vpn) : undefined;
  }

  touchPte(): boolean {
    return this.#table.touchFirstLeaf();
  }

  attach(did: number): void {
    const { attached, directory, levels, msi } = this.#parts;
    attached.get(did)?.detach(did);
    directory.publish(did, { levels, gscid: this.gscid, rootPfn: this.#table.root, ...(msi ? { msi } : {}) });
    // A device that faulted before may have its invalid context cached (IOMMU spec §6.2).
    this.#parts.commands.invalidateDevice(did);
    this.#parts.commands.fence();
    attached.set(did, this);
  }

  detach(did: number): void {
    if (this.#parts.attached.get(did) !== this) return;
    this.#parts.attached.delete(did);
    this.#parts.directory.clear(did);
    this.#parts.commands.invalidateDevice(did);
    this.#parts.commands.fence();
  }

  mapMsiWindow(vpn: number): void {
    if (this.#parts.msi) throw enodev('MSIs of this unit have a fixed window');
    this.map(vpn, this.#parts.doorbellPfn, 1, MSI_PROT);
  }

  free(): void {
    this.unmap(this.apertureVpn, this.apertureEndVpn - this.apertureVpn);
    this.flush();
    // The GSCID will be used again, by a domain with other tables.
    this.#parts.commands.invalidateDomain(this.gscid);
    this.#parts.commands.fence();
    this.#table.free();
    this.#parts.onFree(this);
  }
}

const MSI_PROT = 2; // IOMMU_WRITE

/** Whether so many pages are one leaf at the most: 4 KiB, 2 MiB, 1 GiB. */
const isOneLeaf = (nrPages: number): boolean => nrPages === 1 || nrPages === 512 || nrPages === 512 ** 2;
