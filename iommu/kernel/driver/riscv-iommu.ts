/**
 * The driver of one RISC-V IOMMU unit (specification 1.0): command and fault queue, device
 * directory, domains. It takes the unit over in whatever state the unit is. Everything it writes
 * lies in kernel RAM, and nothing else writes there.
 */
import { ebusy, einval, eopnotsupp } from '../../../platform/errno.ts';
import { hex } from '../../../platform/hex.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';
import type { UnitInfo } from '../../abi/control.ts';
import { MSI_WINDOW } from '../../abi/msi-window.ts';
import type { PhysicalMemory } from '../../bus/physical.ts';
import type { PteRun } from '../../bus/pte-log.ts';
import { MSI_PTE_BYTES, msiEntryHi, msiEntryLo } from '../../hardware/msi.ts';
import { CAP_HI_WRITE_ONLY, CAP_MSI_FLAT, CAP_SV39X4, CAP_SV48X4, REG } from '../../hardware/regs.ts';
import type { IommuUnit } from '../../hardware/unit.ts';
import { PGSHIFTS, type Pgshift } from '../../hardware/unit-description.ts';
import { CommandQueue } from './command-queue.ts';
import { type DeviceContext, DeviceDirectory } from './device-directory.ts';
import type { IommuDevice, IommuDomain, ReservedRegion, TableFile } from './domain.ts';
import type { DonatedWindow } from './donated-window.ts';
import { type Fault, FaultQueue } from './fault-queue.ts';
import { KernelRam } from './kernel-ram.ts';
import { PageTable, type PageTableShape } from './page-table.ts';
import { PersistentBlock, USE } from './persistent-block.ts';
import { type DomainShape, PersistentRiscvDomain, RiscvDomain } from './riscv-domain.ts';
import { RiscvOps, type UnitOfOps } from './riscv-ops.ts';
import type { TableMemory } from './table-memory.ts';

export interface PaSpan {
  readonly start: number;
  readonly size: number;
}

export interface RiscvIommuOptions {
  /** The unit's name in lists. */
  readonly name?: string;
  readonly unit: IommuUnit;
  readonly physical: PhysicalMemory;
  /** This driver's own part of kernel RAM. */
  readonly kernelRam: PaSpan;
  /** The span where MSIs go. */
  readonly doorbell: PaSpan;
  /**
   * Iovas reach up to 2^apertureBits. The default is 39, as the recorded kernels had; the most is
   * 41 for Sv39x4, 48 for Sv48x4.
   */
  readonly apertureBits?: number;
  /** Smallest and largest leaf: 12 for 4 KiB, 21 for 2 MiB, 30 for 1 GiB. */
  readonly minPgshift?: Pgshift;
  readonly maxPgshift?: Pgshift;
  /** enforce_cache_coherency of its domains; the recorded VT-d had none (ST-2). */
  readonly coherent?: boolean;
  /**
   * Default true: an MSI goes by its data to one doorbell, and the doorbell knows the data's owner.
   * So a device cannot forge another device's MSI.
   */
  readonly isolatedMsi?: boolean;
  /** MSIs are translated, in a window that users of VFIO donate (RSV-1). The driver offers none. */
  readonly donatedMsi?: boolean;
  /** ATT-1: errno of a mapping outside the aperture: EFAULT (6.1, 6.12), ERANGE (7.2). */
  readonly outsideAperture?: 'EFAULT' | 'ERANGE';
  /**
   * IOM-3: whether devices can read a WRITE-only mapping (6.1, 6.12). Without CAP_HI_WRITE_ONLY
   * they can anyway.
   */
  readonly writeOnlyIsReadable?: boolean;
  /**
   * The blocks of pkernfs that outlive the kernel: one for this unit's device directory, and those
   * of all files for domains (PKF-1). Without it the directory is this kernel's alone.
   */
  readonly persistent?: { readonly directoryPfn: number; readonly domainPfns: readonly number[] } | undefined;
  /** Hears of all writes to page tables. */
  readonly logPtes?: ((written: PteRun) => void) | undefined;
  /**
   * The ops shared with the drivers of other units. This unit's devices may then join their
   * domains. The default is its own ops.
   */
  readonly ops?: RiscvOps;
}

/** The window that Arm's drivers offer for MSIs that are translated as any store (ATT-4). */
const SW_MSI_WINDOW = { vpn: 0x8000, nrPages: 0x100 } as const;

/** Where a device stores its MSIs. */
export interface Doorbell {
  /** For one more vector set: the iova. EINVAL, ENOSPC, ENOMEM as DonatedWindow.acquire. */
  acquire(): number;
  release(): void;
}

export class RiscvIommu implements IommuDevice, UnitOfOps {
  /**
   * Page-table entries written since start, by map and unmap. An exec update must not change this
   * number.
   */
  pteWrites = 0;
  readonly faults: FaultQueue;
  readonly isolatedMsi: boolean;
  readonly ops: RiscvOps;
  /** The abilities of its domains. */
  readonly shape: DomainShape;
  readonly #described: Pick<UnitInfo, 'name' | 'coherent' | 'pgsizes' | 'apertureBits' | 'msi'>;
  readonly #physical: PhysicalMemory;
  readonly #ram: KernelRam;
  readonly #used: Uint16Array;
  readonly #logPtes: RiscvIommuOptions['logPtes'];
  readonly #tables: PageTableShape;
  readonly #commands: CommandQueue;
  readonly #directory: DeviceDirectory;
  /** The MSI page table, on a unit that has those. */
  readonly #msi: DeviceContext['msi'];
  /** The domain of each attached device. */
  readonly #attached = new Map<number, RiscvDomain>();
  /** Devices that an earlier kernel has left in the domain with this root; nobody has that yet. */
  readonly #left = new Map<number, number>();

  constructor(options: RiscvIommuOptions) {
    const { name = 'iommu', unit, doorbell, apertureBits = 39, minPgshift = 12, maxPgshift = 30 } = options;
    const { coherent = false } = options;
    const pgshifts = PGSHIFTS.filter((shift) => shift >= minPgshift && shift <= maxPgshift);
    const capabilities = unit.read32(REG.capabilities);
    const msiFlat = (capabilities & CAP_MSI_FLAT) !== 0;
    const levels = apertureBits > 41 ? 4 : 3;
    if ((capabilities & (levels === 4 ? CAP_SV48X4 : CAP_SV39X4)) === 0 || apertureBits > 48 || apertureBits < 12) {
      throw einval(`the IOMMU unit cannot translate ${apertureBits} bits`);
    }
    this.ops = options.ops ?? new RiscvOps();
    this.ops.units.push(this);
    this.#physical = options.physical;
    this.#logPtes = options.logPtes;
    this.isolatedMsi = options.isolatedMsi ?? true;
    this.#ram = new KernelRam(options.physical, options.kernelRam);
    this.#used = new Uint16Array(this.#ram.nrPages);
    const writeOnlyLeaves =
      options.writeOnlyIsReadable === false && (unit.read32(REG.capabilities + 4) & CAP_HI_WRITE_ONLY) !== 0;
    this.#tables = { levels, leafLevels: ((maxPgshift - 12) / 9) as 0 | 1 | 2, writeOnlyLeaves };
    this.#commands = new CommandQueue(unit, this.#ram);
    this.faults = new FaultQueue(unit, this.#ram);
    const doorbellPfn = doorbell.start / PAGE_SIZE;
    const { directory, msi } = this.#findDirectory(options, msiFlat, doorbellPfn);
    this.#directory = directory;
    this.#msi = msi;
    this.shape = {
      levels,
      apertureEndVpn: 2 ** (apertureBits - 12),
      pgsizes: pgshifts.reduce((sizes, shift) => sizes | (1n << BigInt(shift)), 0n),
      coherent,
      msi: msiFlat ? 'flat' : options.donatedMsi ? 'donated' : 'translated',
      doorbellPfn,
      outsideAperture: options.outsideAperture ?? 'EFAULT',
    };
    const pgsizes = pgshifts.map((shift) => 2 ** shift);
    this.#described = { name, coherent, pgsizes, apertureBits, msi: this.shape.msi };
  }

  /** The directory and the MSI page table: an earlier kernel's, if there are any, or new ones. */
  #findDirectory(
    { unit, persistent }: RiscvIommuOptions,
    msiFlat: boolean,
    doorbellPfn: number,
  ): { readonly directory: DeviceDirectory; readonly msi: DeviceContext['msi'] } {
    const block = persistent && new PersistentBlock(this.#physical, persistent.directoryPfn);
    const levels = msiFlat ? 3 : 2;
    const header = block?.header();
    if (block && header?.use === USE.directory && header.levels === levels) {
      const directory = new DeviceDirectory(unit, block, msiFlat, header.root);
      this.#takeContexts(directory, persistent!.domainPfns);
      return { directory, msi: header.msi === undefined ? undefined : msiOf(header.msi) };
    }
    const memory = block ?? this.#ram;
    block?.withdraw();
    block?.keepOnly(new Set());
    const msi = msiFlat ? this.#msiTable(memory, doorbellPfn) : undefined;
    const directory = new DeviceDirectory(unit, memory, msiFlat);
    block?.publish({ use: USE.directory, levels, gscid: 0, root: directory.root, msi: msi?.tablePfn });
    return { directory, msi };
  }

  /**
   * Devices stay in the domains of files. Any other context is taken away: its tables were the
   * earlier kernel's (PKF-6).
   */
  #takeContexts(directory: DeviceDirectory, domainPfns: readonly number[]): void {
    const gscids = new Map<number, number>();
    for (const pfn of domainPfns) {
      const found = new PersistentBlock(this.#physical, pfn).header();
      if (found?.use !== USE.domain) continue;
      gscids.set(found.root, found.gscid);
      this.ops.reserveGscid(found.gscid);
    }
    for (const { did, rootPfn, gscid } of [...directory.contexts()]) {
      if (gscids.get(rootPfn) === gscid) {
        this.#left.set(did, rootPfn);
        continue;
      }
      directory.clear(did);
      this.#commands.invalidateDevice(did);
      this.#commands.invalidateDomain(gscid);
    }
    this.#commands.fence();
  }

  allocDomain(): RiscvDomain {
    return new RiscvDomain(this.ops, this.shape, new PageTable(this.#ram, this.#used, this.#tables, this.#count));
  }

  readonly #count = (written: PteRun): void => {
    this.pteWrites += written.count;
    this.#logPtes?.(written);
  };

  allocPersistentDomain(file: TableFile): PersistentRiscvDomain {
    const { takenFiles } = this.ops;
    if (takenFiles.has(file.startPfn)) throw ebusy(`${file.name} has a domain already: one file serves one domain`);
    if (this.shape.msi === 'donated') throw eopnotsupp('a unit with msi=donated has no persistent domains');
    const domain = this.#domainOf(file, new PersistentBlock(this.#physical, file.startPfn));
    takenFiles.add(file.startPfn);
    this.ops.adopt(domain);
    return domain;
  }

  #domainOf(file: TableFile, block: PersistentBlock): PersistentRiscvDomain {
    const used = new Uint16Array(block.nrPages);
    const found = block.header();
    const { levels } = this.#tables;
    if (!found) {
      block.keepOnly(new Set());
      const table = new PageTable(block, used, this.#tables, this.#count);
      const gscid = this.ops.allocateGscid();
      block.publish({ use: USE.domain, levels, gscid, root: table.root });
      return new PersistentRiscvDomain(this.ops, this.shape, table, { file, block, gscid });
    }
    if (found.use !== USE.domain || found.levels !== levels) {
      throw einval(`${file.name}: page tables of ${found.levels} levels, the unit's have ${levels}`);
    }
    const { gscid } = found;
    const table = new PageTable(block, used, this.#tables, this.#count, found.root);
    const pages = table.adopt((pfn) => block.holds(pfn));
    // A kernel that died may have unlinked a table, and a walker may still be in it.
    this.#commands.invalidateDomain(gscid);
    this.ops.fence();
    block.keepOnly(pages);
    return new PersistentRiscvDomain(this.ops, this.shape, table, { file, block, gscid });
  }

  /** Whether the tables of a file for domains lead to a page of [pfn, pfn + nrPages). */
  fileLeadsTo(filePfn: number, pfn: number, nrPages: number): boolean {
    const block = new PersistentBlock(this.#physical, filePfn);
    const found = block.header();
    if (found?.use !== USE.domain) return false;
    const shape = { ...this.#tables, levels: found.levels as 3 | 4 };
    return new PageTable(block, new Uint16Array(0), shape, this.#count, found.root).leadsTo(pfn, nrPages);
  }

  isPersistent(did: number): boolean {
    return this.#left.has(did) || this.#attached.get(did) instanceof PersistentRiscvDomain;
  }

  #clear(did: number): void {
    this.#directory.clear(did);
    this.#commands.invalidateDevice(did);
    this.#commands.fence();
  }

  adopt(domain: RiscvDomain): void {
    for (const [did, rootPfn] of this.#left) {
      if (rootPfn !== domain.rootPfn) continue;
      this.#left.delete(did);
      this.#attached.set(did, domain);
      domain.join(this.#commands);
    }
  }

  disown(domain: RiscvDomain): void {
    for (const [did, home] of [...this.#attached]) {
      if (home !== domain) continue;
      this.#attached.delete(did);
      this.#left.set(did, domain.rootPfn);
    }
  }

  evict(domain: RiscvDomain): void {
    for (const [did, home] of [...this.#attached]) if (home === domain) this.detach(did, domain);
  }

  attach(did: number, domain: IommuDomain): void {
    if (!(domain instanceof RiscvDomain) || !this.#accepts(domain)) {
      throw einval(`device ${hex(did)}: its IOMMU unit cannot use the domain`);
    }
    const before = this.#attached.get(did);
    if (before === domain) return; // it has been there since before this kernel, and no word is written
    if (before) this.detach(did, before);
    if (this.#left.delete(did)) this.#clear(did);
    const { gscid, rootPfn, shape } = domain;
    const msi = this.#msi ? { msi: this.#msi } : {};
    this.#directory.publish(did, { levels: shape.levels, gscid, rootPfn, ...msi });
    domain.join(this.#commands);
    // A device that faulted before may have its invalid context cached (IOMMU spec §6.2).
    this.#commands.invalidateDevice(did);
    this.#commands.fence();
    this.#attached.set(did, domain);
  }

  /**
   * Whether the unit can use a domain. The unit walks the domain's tables with its own abilities,
   * and MSIs take the same way for all devices of a domain.
   */
  #accepts({ ops, shape }: RiscvDomain): boolean {
    const { levels, pgsizes, apertureEndVpn, msi } = this.shape;
    return (
      ops === this.ops &&
      shape.levels <= levels &&
      (shape.pgsizes & ~pgsizes) === 0n &&
      shape.apertureEndVpn <= apertureEndVpn &&
      shape.msi === msi
    );
  }

  detach(did: number, domain: IommuDomain): void {
    const home = this.#attached.get(did);
    if (home === undefined || home !== domain) return;
    this.#attached.delete(did);
    this.#directory.clear(did);
    this.#commands.invalidateDevice(did);
    home.leave(this.#commands);
    this.#commands.fence();
  }

  reservedRegions(): readonly ReservedRegion[] {
    switch (this.shape.msi) {
      case 'flat':
        return [{ ...MSI_WINDOW, type: 'msi' }];
      case 'translated':
        return [{ ...SW_MSI_WINDOW, type: 'sw-msi' }];
      case 'donated':
        return [];
    }
  }

  /** The way of a device's MSIs. */
  doorbellOf(did: number): Doorbell {
    const { msi, doorbellPfn } = this.shape;
    if (msi !== 'donated') {
      const iova = (msi === 'flat' ? MSI_WINDOW : SW_MSI_WINDOW).vpn * PAGE_SIZE;
      return { acquire: () => iova, release: () => undefined };
    }
    const window = (): DonatedWindow | undefined => this.#attached.get(did)?.donatedWindow;
    return {
      acquire: () => {
        const found = window();
        if (!found) throw einval(`device ${hex(did)} is in no domain`);
        return found.acquire(doorbellPfn) * PAGE_SIZE;
      },
      release: () => window()?.release(doorbellPfn),
    };
  }

  /** Pages of kernel RAM that are not in use. */
  get nrFreePages(): number {
    return this.#ram.nrFree;
  }

  /**
   * Returns when no device is inside a transaction that began before. The signals and writes of
   * such a transaction are done.
   */
  fence(): void {
    this.#commands.fence();
  }

  /** Reads the faults that devices have left. Returns the newest ones. */
  drainFaults(): readonly Fault[] {
    this.faults.drain();
    return this.faults.last;
  }

  /**
   * Rewrites one live leaf with its own value: an injected defect, which pteWrites shows. False
   * when nothing is mapped.
   */
  touchPte(): boolean {
    for (const domain of new Set(this.#attached.values())) if (domain.touchPte()) return true;
    return false;
  }

  /** The unit's part of /dev/livevmm's answer. `unit` is its number there. */
  info(unit: number): UnitInfo {
    return { unit, ...this.#described, pteWrites: this.pteWrites };
  }

  /**
   * Maps every page of the window to the one doorbell page. The data of the store says which
   * interrupt it is.
   */
  #msiTable(memory: TableMemory, doorbellPfn: number): NonNullable<DeviceContext['msi']> {
    const tablePfn = memory.allocate();
    const { words } = memory;
    for (let i = 0; i < MSI_WINDOW.nrPages; i++) {
      const at = memory.wordOf(tablePfn) + (i * MSI_PTE_BYTES) / 4;
      words[at] = msiEntryLo(doorbellPfn);
      words[at + 1] = msiEntryHi(doorbellPfn);
    }
    return msiOf(tablePfn);
  }
}

const msiOf = (tablePfn: number): NonNullable<DeviceContext['msi']> => {
  return { tablePfn, pattern: MSI_WINDOW.vpn, mask: MSI_WINDOW.nrPages - 1 };
};
