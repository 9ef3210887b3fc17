/** struct vfio_iommu_driver_ops: what a container knows of type1. */

import type { Task } from '../core/task.ts';
import type { UserArg } from '../core/user-arg.ts';
import type { IommuBackend } from '../driver/domain.ts';
import type { RwRequest } from './type1/dma-rw.ts';
import type { DmaUnmapListener } from './type1/iommu.ts';
import type { PinRequest } from './type1/pinned-pages.ts';

/** The unit of isolation: devices that share an address space whatever one does. */
export interface IommuGroup {
  readonly id: number;
  /** Driver of the IOMMU unit in front of its devices; absent where there is none: mediated devices, whose group is "emulated". */
  readonly driver?: IommuBackend;
  /** The devices' ids on that unit. */
  readonly dids: readonly number[];
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

  /* For drivers of devices without IOMMU; absent in an IOMMU driver that cannot do it (MDV-1: ENOTTY). */

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

/** The driver as the core finds it loaded: asked with no state, and opened for a container. */
export interface IommuDriverOps {
  /** CHECK_EXTENSION without a container (CORE-2). */
  checkExtension(extension: number): number;
  /** EINVAL for a type it does not serve. */
  open(iommuType: number): ContainerIommu;
}
