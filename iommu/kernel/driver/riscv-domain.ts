/**
 * A domain of the RISC-V IOMMU driver. It has one second-stage page table and one GSCID, which are
 * in the contexts of devices behind one unit or several. Ranges are [vpn, vpn + nrPages).
 */
import { einval, enodev, SysError } from '../../../platform/errno.ts';
import { hex } from '../../../platform/hex.ts';
import type { CommandQueue } from './command-queue.ts';
import { IOMMU_WRITE, type IommuDomain, type PersistentDomain, type TableFile } from './domain.ts';
import { DonatedWindow, type WindowMappings } from './donated-window.ts';
import type { PageSpan, PageTable } from './page-table.ts';
import type { PersistentBlock } from './persistent-block.ts';
import type { RiscvOps } from './riscv-ops.ts';

/** Where the tables of a domain lie that outlives the kernel; the header there names the GSCID. */
export interface PersistentTables {
  readonly file: TableFile;
  readonly block: PersistentBlock;
  readonly gscid: number;
}

/**
 * The abilities that a domain gets from the unit it was allocated for. Another unit with the same
 * abilities can use the domain too.
 */
export interface DomainShape {
  readonly levels: 3 | 4;
  readonly apertureEndVpn: number;
  readonly pgsizes: bigint;
  readonly coherent: boolean;
  /**
   * MSIs go through an MSI page table in a fixed window; or through the domain's own tables, in the
   * driver's window or in one that a user donates.
   */
  readonly msi: 'flat' | 'translated' | 'donated';
  /** The page where MSIs end. */
  readonly doorbellPfn: number;
  /** ATT-1: errno of a mapping beyond the aperture. */
  readonly outsideAperture: 'EFAULT' | 'ERANGE';
}

/** The most leaves that are invalidated one by one. Beyond it, the whole domain is invalidated. */
const FEW_LEAVES = 4;

export class RiscvDomain implements IommuDomain {
  readonly ops: RiscvOps;
  readonly shape: DomainShape;
  readonly pgsizes: bigint;
  readonly coherent: boolean;
  readonly apertureVpn = 0;
  readonly apertureEndVpn: number;
  readonly gscid: number;
  readonly rootPfn: number;
  readonly donatedWindow: DonatedWindow | undefined;
  readonly #table: PageTable;
  /** Pages of the smallest leaf. */
  readonly #granule: number;
  /**
   * Number of the domain's devices behind each unit. These units may have the domain's translations
   * cached.
   */
  readonly #units = new Map<CommandQueue, number>();
  /** First pages of the leaves that were unmapped since the last flush. */
  #unmapped: number[] = [];
  #manyUnmapped = false;

  /** Set if the tables lie in pkernfs. */
  readonly #block: PersistentBlock | undefined;

  constructor(ops: RiscvOps, shape: DomainShape, table: PageTable, persistent?: PersistentTables) {
    this.ops = ops;
    this.shape = shape;
    this.#table = table;
    this.gscid = persistent?.gscid ?? ops.allocateGscid();
    this.#block = persistent?.block;
    this.rootPfn = table.root;
    this.pgsizes = shape.pgsizes;
    this.coherent = shape.coherent;
    this.apertureEndVpn = shape.apertureEndVpn;
    this.donatedWindow = shape.msi === 'donated' ? new DonatedWindow(this.#doorbellMappings()) : undefined;
    this.#granule = Number((shape.pgsizes & -shape.pgsizes) >> 12n);
  }

  #doorbellMappings(): WindowMappings {
    return {
      map: (vpn, pfn) => this.map(vpn, pfn, 1, IOMMU_WRITE),
      unmap: (vpn) => {
        this.unmap(vpn, 1);
        this.flush();
      },
    };
  }

  map(vpn: number, pfn: number, nrPages: number, prot: number): void {
    if ([vpn, pfn, nrPages].some((pages) => pages % this.#granule !== 0)) {
      throw einval(`iova page ${hex(vpn)}, pfn ${hex(pfn)}: no whole pages of the domain`);
    }
    if (vpn < this.apertureVpn || vpn + nrPages > this.apertureEndVpn) {
      throw new SysError(this.shape.outsideAperture, `iova page ${hex(vpn)} is outside the aperture`);
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
    const leavesBefore = this.#table.removedLeaves;
    const removed = this.#table.unmap(vpn, nrPages);
    if (removed > 0) {
      this.#unmapped.push(vpn);
      const oneLeafAtVpn = this.#table.removedLeaves - leavesBefore === 1 && removed >= nrPages;
      this.#manyUnmapped ||= !oneLeafAtVpn || this.#unmapped.length > FEW_LEAVES;
    }
    return removed;
  }

  flush(): void {
    if (this.#unmapped.length === 0) return;
    for (const commands of this.#units.keys()) this.#invalidate(commands);
    for (const commands of this.#units.keys()) commands.fence();
    this.#unmapped = [];
    this.#manyUnmapped = false;
    this.#table.reclaim();
  }

  /**
   * IOMMU spec §3.1.1: an invalidation by address leaves non-leaf entries alone. So a table may be
   * freed only after an invalidation of the whole domain.
   */
  #invalidate(commands: CommandQueue): void {
    if (this.#manyUnmapped || this.#table.hasUnlinked) commands.invalidateDomain(this.gscid);
    else for (const vpn of this.#unmapped) commands.invalidateLeaf(this.gscid, vpn);
  }

  mapsAny(vpn: number, nrPages: number): boolean {
    const end = Math.min(vpn + nrPages, this.apertureEndVpn);
    return end > vpn && this.#table.mapsAny(vpn, end - vpn);
  }

  checkMapped(
    vpn: number,
    run: { readonly pfn: number; readonly nrPages: number },
    prot: number,
    within: PageSpan,
  ): void {
    if (within.vpn + within.nrPages > this.apertureEndVpn) {
      throw new SysError(this.shape.outsideAperture, `iova page ${hex(vpn)} is outside the aperture`);
    }
    this.#table.check(vpn, run.pfn, run.nrPages, prot, within);
  }

  leadsTo(pfn: number, nrPages: number): boolean {
    return this.#table.leadsTo(pfn, nrPages);
  }

  pfnOf(vpn: number): number | undefined {
    return vpn < this.apertureEndVpn ? this.#table.pfnOf(vpn) : undefined;
  }

  touchPte(): boolean {
    return this.#table.touchFirstLeaf();
  }

  /**
   * A device behind the unit of this queue has joined. No unmap or flush may come between the
   * publishing of its context and this call.
   */
  join(commands: CommandQueue): void {
    this.#units.set(commands, (this.#units.get(commands) ?? 0) + 1);
  }

  /**
   * A device behind the unit has left, and its context is cleared. After the last device the unit
   * forgets the domain. The caller then sends a fence.
   */
  leave(commands: CommandQueue): void {
    const left = this.#units.get(commands)! - 1;
    if (left > 0) {
      this.#units.set(commands, left);
      return;
    }
    this.#units.delete(commands);
    commands.invalidateDomain(this.gscid);
  }

  mapMsiWindow(vpn: number): void {
    if (this.shape.msi !== 'translated') throw enodev('the driver has no MSI window to map');
    if (this.#block && this.pfnOf(vpn) === this.shape.doorbellPfn) return; // by an earlier kernel
    this.map(vpn, this.shape.doorbellPfn, 1, IOMMU_WRITE);
  }

  free(): void {
    this.ops.evict(this); // devices that were in the domain before anybody asked for it
    this.unmap(this.apertureVpn, this.apertureEndVpn - this.apertureVpn);
    this.flush();
    this.#table.free();
    // From the withdrawal on the block has no tables: a crash before it leaves empty ones.
    this.#block?.withdraw();
    this.#block?.keepOnly(new Set());
    this.ops.freeGscid(this.gscid);
  }
}

/** A domain whose tables lie in a file of pkernfs (PKF-1). */
export class PersistentRiscvDomain extends RiscvDomain implements PersistentDomain {
  readonly file: TableFile;

  constructor(ops: RiscvOps, shape: DomainShape, table: PageTable, persistent: PersistentTables) {
    super(ops, shape, table, persistent);
    this.file = persistent.file;
  }

  override free(): void {
    super.free();
    this.ops.takenFiles.delete(this.file.startPfn);
  }

  abandon(): void {
    this.ops.disown(this);
    this.ops.takenFiles.delete(this.file.startPfn);
  }
}
