/**
 * What the VFIO core knows of the IOMMU backend behind a container (struct vfio_iommu_driver_ops).
 * type1 is one.
 */

import type { Task } from '../core/task.ts';
import type { UserArg } from '../core/user-arg.ts';
import type { IommuDevice } from '../driver/domain.ts';

/** The unit of isolation: devices that share an address space whatever one does. */
export interface IommuGroup {
  readonly id: number;
  /**
   * The IOMMU in front of its devices; absent where there is none: mediated devices, whose group is
   * "emulated".
   */
  readonly iommuDevice?: IommuDevice;
  /** The devices' ids on that unit. */
  readonly dids: readonly number[];
}

/**
 * A driver of mediated devices that wants to hear of unmaps (MDV-6). It must have unpinned [vpn,
 * vpn + nrPages) when it is done.
 */
export interface DmaUnmapListener {
  dmaUnmap(vpn: number, nrPages: number): void | Promise<void>;
}

/** vfio_pin_pages. */
export interface PinRequest {
  readonly group: IommuGroup;
  /**
   * iova pages [vpn, vpn + nrPages); nrPages from 1 to VFIO_PIN_PAGES_MAX_ENTRIES, as the core sees
   * to.
   */
  readonly vpn: number;
  readonly nrPages: number;
  /** IOMMU_READ | IOMMU_WRITE; the mapping must allow all of it. */
  readonly prot: number;
  /**
   * The user task in whose context this is; a killed one stops waiting. Absent for a kernel thread.
   */
  readonly killed?: AbortSignal;
}

/** vfio_dma_rw. */
export interface RwRequest {
  /** The iova: page and offset in it. */
  readonly vpn: number;
  readonly offset: number;
  /** Bytes to write, or where to read to. */
  readonly data: Uint8Array;
  readonly write: boolean;
  /** The user task in whose context this is; absent for a kernel thread. */
  readonly caller?: Task;
  /** Ends a sleep: a kernel thread is told to stop (VAD-1). Default: the caller's death. */
  readonly killed?: AbortSignal;
}

/** The state of one container (iommu_data). */
export interface ContainerIommu {
  /** May sleep (VAD-8). On an error the group is not attached. */
  attachGroup(group: IommuGroup, task: Task): void | Promise<void>;
  /** A promise where it is long, as release. */
  detachGroup(group: IommuGroup): void | Promise<void>;
  /** The last group has left: everything is unmapped and freed (CORE-10). */
  release(): void | Promise<void>;
  /** The numbers a container does not know itself. ENOTTY for those type1 does not know either. */
  ioctl(nr: number, arg: UserArg, task: Task): number | Promise<number>;
  checkExtension(extension: number): number;
  /** The container's fd is closed (CORE-11); absent where nothing hangs on it. */
  containerClosed?(): void;
  readonly stats: ContainerIommuStats;

  /*
   * For drivers of devices without IOMMU; absent in an IOMMU driver that cannot do it (MDV-1:
   * ENOTTY).
   */

  /** Whoever pins pages must listen (MDV-2, MDV-6). */
  registerDevice?(listener: DmaUnmapListener): void;
  unregisterDevice?(listener: DmaUnmapListener): void;
  /** Pfns of the pages. */
  pinPages?(request: PinRequest): Promise<readonly number[]>;
  /** How many pages were in a mapping (MDV-4). A promise where it has to wait for the lock. */
  unpinPages?(vpn: number, nrPages: number): number | Promise<number>;
  /** Whether it had to sleep until a vaddr was valid. */
  dmaRw?(request: RwRequest): Promise<boolean>;
}

/** For /dev/livevmm. */
export interface ContainerIommuStats {
  readonly mappings: number;
  readonly mappedBytes: number;
  readonly invalidVaddrs: number;
}

/**
 * struct vfio_iommu_driver: the backend as the core finds it loaded. It is asked with no state, and
 * opened for a container.
 */
export interface VfioIommuDriver {
  /** CHECK_EXTENSION without a container (CORE-2). */
  checkExtension(extension: number): number;
  /** EINVAL for a type it does not serve. */
  open(iommuType: number): ContainerIommu;
}
