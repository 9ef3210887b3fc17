/**
 * struct vfio_dma: one mapping of a container. Its iovas are [vpn, vpn + nrPages), its memory is
 * [vaddrPage, vaddrPage + nrPages).
 */

import type { Mm, Task } from '../../core/task.ts';
import type { DeviceMemory } from '../../mm/device-memory.ts';
import type { PinnedRun } from '../../mm/pin.ts';
import type { DirtyBitmap } from './dirty-bitmap.ts';
import { DmaRange } from './dma-tree.ts';

/** A page that drivers of mediated devices have pinned (struct vfio_pfn). */
export interface ExternalPin {
  readonly run: PinnedRun;
  refs: number;
}

/**
 * RSV-3: an entry of a user has memory. One of type msi is a window that the user has donated: it
 * has no vaddr and no pins.
 */
export type EntryType = 'user' | 'msi';

export interface DmaEntryOptions {
  readonly vpn: number;
  readonly nrPages: number;
  readonly vaddrPage: number;
  /** IOMMU_READ | IOMMU_WRITE. */
  readonly prot: number;
  readonly mapper: Task;
  /** Default: user. */
  readonly type?: EntryType;
}

export class DmaEntry extends DmaRange<DmaEntry> {
  readonly vpn: number;
  readonly nrPages: number;
  readonly type: EntryType;
  readonly prot: number;
  /** MAP VADDR replaces it. */
  vaddrPage: number;
  vaddrInvalid = false;
  /** Pinned and mapped in every IOMMU domain. */
  iommuMapped = false;
  /**
   * The task that made the mapping or took it over. Its thread group counts, because a vCPU thread
   * may die first (MAP-15).
   */
  mapper: Task;
  /** The address space that vaddr belongs to. The entry holds it (mmgrab). */
  mm: Mm;
  /** Whether the mapper had CAP_IPC_LOCK at MAP time. This holds for all later charges too. */
  lockCap: boolean;
  /** Pages charged for this entry (6.3+). */
  lockedPages = 0;
  /** Its record in the container's file of mappings. */
  slot: number | undefined;
  /** Its end leaves the translations in the tables: it has not made them, and has failed. */
  leavesTables = false;
  /** The runs of pages that are pinned for the IOMMU domains, in order. */
  runs: PinnedRun[] = [];
  /** Drivers' pins by iova page (MDV-3). The first pin makes the map. */
  externalPins: Map<number, ExternalPin> | undefined;
  /** The devices of which it has had pages pinned, for itself or for drivers (P2P-4). */
  devices: Set<DeviceMemory> | undefined;
  /** Present while dirty tracking is on (DRT-2). */
  bitmap: DirtyBitmap | undefined;

  constructor({ vpn, nrPages, vaddrPage, prot, mapper, type = 'user' }: DmaEntryOptions) {
    super();
    this.vpn = vpn;
    this.nrPages = nrPages;
    this.type = type;
    this.vaddrPage = vaddrPage;
    this.prot = prot;
    this.mapper = mapper;
    this.mm = mapper.mm.grab();
    this.lockCap = mapper.capIpcLock();
  }

  get end(): number {
    return this.vpn + this.nrPages;
  }

  get hasExternalPins(): boolean {
    return this.externalPins !== undefined && this.externalPins.size > 0;
  }
}
