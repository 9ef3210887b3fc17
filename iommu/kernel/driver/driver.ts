/**
 * Driver of one RISC-V IOMMU unit (specification 1.0): command and fault queue, device directory, domains. It takes the unit
 * over in whatever state it is. Everything it writes lies in kernel RAM, and nobody else writes there.
 */
import { einval, enomem } from '../../../platform/errno.ts';
import type { PhysicalMemory } from '../../hardware/physical.ts';
import { CAP_MSI_FLAT, CAP_SV39X4, CAP_SV48X4, REG } from '../../hardware/regs.ts';
import type { IommuUnit } from '../../hardware/unit.ts';
import { CommandQueue } from './command-queue.ts';
import { type DeviceContext, DeviceDirectory } from './device-directory.ts';
import type { IommuBackend, ReservedRegion } from './domain.ts';
import { type Fault, FaultQueue } from './fault-queue.ts';
import { KernelRam } from './kernel-ram.ts';
import { PageTable, type PageTableShape } from './page-table.ts';
import { type DomainParts, RiscvDomain } from './riscv-domain.ts';

const PAGE = 4096;

export interface PaSpan {
  readonly start: number;
  readonly size: number;
}

export interface IommuDriverOptions {
  readonly unit: IommuUnit;
  readonly physical: PhysicalMemory;
  /** This driver's own part of kernel RAM. */
  readonly kernelRam: PaSpan;
  /** Where MSIs go. */
  readonly doorbell: PaSpan;
  /** Iovas reach up to 2^apertureBits: 39 as the recorded kernels had; at most 41 for Sv39x4, 48 for Sv48x4. */
  readonly apertureBits?: number;
  /** Largest leaf: 12 for 4 KiB, 21 for 2 MiB, 30 for 1 GiB. */
  readonly maxPgshift?: 12 | 21 | 30;
  /** enforce_cache_coherency of its domains; the recorded VT-d had none (ST-2). */
  readonly coherent?: boolean;
  /** ATT-1: errno of a mapping outside the aperture: EFAULT (6.1, 6.12), ERANGE (7.2). */
  readonly outsideAperture?: 'EFAULT' | 'ERANGE';
}

/** x86's: fee00000–feefffff. Pages with the same bits above the mask. */
const MSI_WINDOW = { vpn: 0xfee00, nrPages: 0x100 } as const;
/** What Arm's drivers offer for MSIs that are translated as any store (ATT-4). */
const SW_MSI_WINDOW = { vpn: 0x8000, nrPages: 0x100 } as const;
/** MSI page table entry (AIA §8.4): valid, basic translate mode. */
const MSI_PTE_V = 1 << 0;
const MSI_PTE_BASIC = 3 << 1;
const MSI_PTE_WORDS = 4;
const NR_GSCIDS = 1 << 16;

export class IommuDriver implements IommuBackend {
  /** Page-table entries written since start, by map and unmap: an exec update must not move it. */
  pteWrites = 0;
  readonly faults: FaultQueue;
  /** MSIs go by data to one doorbell, which knows its owner; a device cannot forge another's. */
  readonly isolatedMsi = true;
  readonly #ram: KernelRam;
  readonly #used: Uint16Array;
  readonly #shape: PageTableShape;
  readonly #parts: DomainParts;
  readonly #attached = new Map<number, RiscvDomain>();
  readonly #freeGscids: number[] = [];
  #nextGscid = 1;

  constructor(options: IommuDriverOptions) {
    const { unit, doorbell, apertureBits = 39, maxPgshift = 30 } = options;
    const capabilities = unit.read32(REG.capabilities);
    const msiFlat = (capabilities & CAP_MSI_FLAT) !== 0;
    const levels = apertureBits > 41 ? 4 : 3;
    if ((capabilities & (levels === 4 ? CAP_SV48X4 : CAP_SV39X4)) === 0 || apertureBits > 48 || apertureBits < 12) {
      throw einval(`the IOMMU unit cannot translate ${apertureBits} bits`);
    }
    this.#ram = new KernelRam(options.physical, options.kernelRam);
    this.#used = new Uint16Array(this.#ram.nrPages);
    this.#shape = { levels, leafLevels: ((maxPgshift - 12) / 9) as 0 | 1 | 2 };
    const commands = new CommandQueue(unit, this.#ram);
    this.faults = new FaultQueue(unit, this.#ram);
    this.#parts = {
      driver: this,
      commands,
      directory: new DeviceDirectory(unit, this.#ram, msiFlat),
      attached: this.#attached,
      apertureEndVpn: 2 ** (apertureBits - 12),
      pgsizes: [12n, 21n, 30n]
        .filter((shift) => shift <= maxPgshift)
        .reduce((sizes, shift) => sizes | (1n << shift), 0n),
      coherent: options.coherent ?? false,
      outsideAperture: options.outsideAperture ?? 'EFAULT',
      levels,
      msi: msiFlat ? this.#msiTable(doorbell.start / PAGE) : undefined,
      doorbellPfn: doorbell.start / PAGE,
      onFree: ({ gscid }) => this.#freeGscids.push(gscid),
    };
  }

  allocDomain(): RiscvDomain {
    const gscid = this.#freeGscids.pop() ?? this.#nextGscid++;
    if (gscid >= NR_GSCIDS) throw enomem('no GSCID left');
    const count = (writes: number): void => {
      this.pteWrites += writes;
    };
    return new RiscvDomain(this.#parts, gscid, new PageTable(this.#ram, this.#used, this.#shape, count));
  }

  reservedRegions(): readonly ReservedRegion[] {
    return [this.#parts.msi ? { ...MSI_WINDOW, type: 'msi' } : { ...SW_MSI_WINDOW, type: 'sw-msi' }];
  }

  /** Pages of kernel RAM that are not in use. */
  get nrFreePages(): number {
    return this.#ram.nrFree;
  }

  /** Returns when no device is inside a transaction that began before: what it was about to signal or write is done. */
  fence(): void {
    this.#parts.commands.fence();
  }

  /** Reads the faults that devices have left; the newest ones. */
  drainFaults(): readonly Fault[] {
    this.faults.drain();
    return this.faults.last;
  }

  /** Rewrites one live leaf with its own value: an injected defect, which pteWrites shows. False when nothing is mapped. */
  touchPte(): boolean {
    for (const domain of new Set(this.#attached.values())) if (domain.touchPte()) return true;
    return false;
  }

  /** Every page of the window to the one doorbell page: the data of the store says which interrupt it is. */
  #msiTable(doorbellPfn: number): NonNullable<DeviceContext['msi']> {
    const tablePfn = this.#ram.allocate();
    const { words } = this.#ram;
    for (let i = 0; i < MSI_WINDOW.nrPages; i++) {
      const at = this.#ram.wordOf(tablePfn) + i * MSI_PTE_WORDS;
      words[at] = MSI_PTE_V | MSI_PTE_BASIC | ((doorbellPfn & 0x3fffff) << 10);
      words[at + 1] = Math.floor(doorbellPfn / 2 ** 22);
    }
    return { tablePfn, pattern: MSI_WINDOW.vpn, mask: MSI_WINDOW.nrPages - 1 };
  }
}
