/**
 * The VFIO core's view of the IOMMU backend behind a container (struct vfio_iommu_driver_ops).
 * type1 is one such backend.
 */

import type { Task } from '../core/task.ts';
import type { UserArg } from '../core/user-arg.ts';
import type { IommuDevice, TableFile } from '../driver/domain.ts';

/** A file for a container's mappings, which outlives the kernel. */
export interface EntryFile {
  readonly name: string;
  readonly words: Int32Array;
}

/** The unit of isolation: its devices always share one address space. */
export interface IommuGroup {
  readonly id: number;
  /**
   * The IOMMU in front of the devices. Absent for mediated devices, which have none: their group is
   * "emulated".
   */
  readonly iommuDevice?: IommuDevice;
  /** The devices' ids on that IOMMU. */
  readonly dids: readonly number[];
}

/**
 * A driver of mediated devices that wants to be told of unmaps (MDV-6). The driver must have
 * unpinned [vpn, vpn + nrPages) when dmaUnmap is done.
 */
export interface DmaUnmapListener {
  dmaUnmap(vpn: number, nrPages: number): void | Promise<void>;
}

/** The arguments of vfio_pin_pages. */
export interface PinRequest {
  readonly group: IommuGroup;
  /**
   * iova pages [vpn, vpn + nrPages). The core makes sure that nrPages is 1 to
   * VFIO_PIN_PAGES_MAX_ENTRIES.
   */
  readonly vpn: number;
  readonly nrPages: number;
  /** IOMMU_READ | IOMMU_WRITE; the mapping must allow all of it. */
  readonly prot: number;
  /**
   * The kill signal of the user task that makes the call: a killed task stops waiting. Absent for a
   * kernel thread.
   */
  readonly killed?: AbortSignal;
}

/** The arguments of vfio_dma_rw. */
export interface RwRequest {
  /** The iova is page `vpn` and `offset` in that page. */
  readonly vpn: number;
  readonly offset: number;
  /** The bytes to write, or the buffer to read into. */
  readonly data: Uint8Array;
  readonly write: boolean;
  /** The user task that makes the call; absent for a kernel thread. */
  readonly caller?: Task;
  /**
   * Ends a sleep when a kernel thread is told to stop (VAD-1). Default: the caller's death ends it.
   */
  readonly killed?: AbortSignal;
}

/** The state of one container (iommu_data). */
export interface ContainerIommu {
  /** May sleep (VAD-8). On an error the group is not attached. */
  attachGroup(group: IommuGroup, task: Task): void | Promise<void>;
  /** Returns a promise when the work is long; so does release. */
  detachGroup(group: IommuGroup): void | Promise<void>;
  /** The last group has left: everything is unmapped and freed (CORE-10). */
  release(): void | Promise<void>;
  /**
   * Handles the ioctls that the container itself does not know. ENOTTY for those that type1 does
   * not know either.
   */
  ioctl(nr: number, arg: UserArg, task: Task): number | Promise<number>;
  checkExtension(extension: number): number;
  /** The container's fd is closed (CORE-11). Absent in a backend that does nothing then. */
  containerClosed?(): void;
  readonly stats: ContainerIommuStats;
  /**
   * The kernel is about to end. A container with persistent page tables leaves them and its devices
   * to the next kernel when it is released (PKF-6). Returns whether it is one.
   */
  leaveToNextKernel?(): boolean;

  /*
   * For drivers of devices without IOMMU; absent in an IOMMU driver that cannot do it (MDV-1:
   * ENOTTY).
   */

  /** A driver that pins pages must listen (MDV-2, MDV-6). */
  registerDevice?(listener: DmaUnmapListener): void;
  unregisterDevice?(listener: DmaUnmapListener): void;
  /** Returns the pfns of the pages. */
  pinPages?(request: PinRequest): Promise<readonly number[]>;
  /**
   * Returns how many pages were in a mapping (MDV-4). A promise when it has to wait for the lock.
   */
  unpinPages?(vpn: number, nrPages: number): number | Promise<number>;
  /** Returns whether it had to sleep until a vaddr was valid. A promise only when it waits. */
  dmaRw?(request: RwRequest): boolean | Promise<boolean>;
}

/** For /dev/livevmm. */
export interface ContainerIommuStats {
  readonly mappings: number;
  readonly mappedBytes: number;
  readonly unpinnedBytes?: number;
  readonly invalidVaddrs: number;
}

/**
 * struct vfio_iommu_driver: a loaded backend. It has no state of its own; open() gives a container
 * its state.
 */
export interface VfioIommuDriver {
  /** CHECK_EXTENSION without a container (CORE-2). */
  checkExtension(extension: number): number;
  /**
   * EINVAL for a type it does not serve. `tables`: where its domain's page tables lie (PKF-2);
   * `entries`: where its mappings are recorded.
   */
  open(iommuType: number, tables?: TableFile, entries?: EntryFile): ContainerIommu;
}
