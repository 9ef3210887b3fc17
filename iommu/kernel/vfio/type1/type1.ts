/**
 * The type1 driver as the VFIO core sees it (drivers/vfio/vfio_iommu_type1.c). There is one Type1
 * for each container with an IOMMU.
 */
import { einval, SysError } from '../../../../platform/errno.ts';
import { hex } from '../../../../platform/hex.ts';
import {
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_TYPE1_IOMMU,
  VFIO_TYPE1_NESTING_IOMMU,
  VFIO_TYPE1v2_IOMMU,
} from '../../../abi/vfio.ts';
import type { Profile } from '../../core/profile.ts';
import type { Task } from '../../core/task.ts';
import type { UserArg } from '../../core/user-arg.ts';
import type { TableFile } from '../../driver/domain.ts';
import type { Pinner } from '../../mm/pin.ts';
import type {
  ContainerIommu,
  ContainerIommuStats,
  DmaUnmapListener,
  EntryFile,
  IommuGroup,
  PinRequest,
  RwRequest,
  VfioIommuDriver,
} from '../container-iommu.ts';
import { attachGroup } from './attach.ts';
import { detachGroup, release } from './detach.ts';
import { dirtyPages } from './dirty.ts';
import { dmaRw } from './dma-rw.ts';
import { checkExtension, getInfo } from './info.ts';
import type { HeldLocks } from './iommu-lock.ts';
import { mapDma } from './map.ts';
import { moduleParameter } from './module-parameters.ts';
import { deviceMemoryGoes } from './peer-mappings.ts';
import { PersistentEntries } from './persistent-entries.ts';
import { pinPages, unpinPages } from './pinned-pages.ts';
import { unmapDma } from './unmap.ts';
import {
  DEFAULT_PARAMETERS,
  type TablesMode,
  type Type1Parameters,
  VfioIommu,
  type VfioIommuOptions,
} from './vfio-iommu.ts';

export interface Type1DriverOptions {
  readonly profile: Profile;
  /** One pinner serves all containers, because objects are shared. */
  readonly pinner: Pinner;
  /** Module parameters. They may change while the driver is loaded. */
  readonly parameters?: Type1Parameters;
  /** How long the work of one call may keep all other containers waiting. Default: to its end. */
  readonly sliceMs?: number;
  /** Absent: there is no memory for page tables that outlive the kernel. */
  readonly persistence?: TablesMode | undefined;
}

/** The loaded module. */
export class Type1Driver implements VfioIommuDriver {
  readonly #options: Omit<VfioIommuOptions, 'v2' | 'nesting'>;
  readonly #parameters: Type1Parameters;
  readonly #heldLocks: HeldLocks = { count: 0 };

  constructor({ profile, pinner, parameters = { ...DEFAULT_PARAMETERS }, sliceMs, persistence }: Type1DriverOptions) {
    this.#parameters = parameters;
    this.#options = { profile, pinner, parameters, sliceMs, heldLocks: this.#heldLocks, persistence };
  }

  /**
   * How many containers are in the middle of long work. Until that work is done, the pinned pages
   * are not the mapped pages.
   */
  get busyContainers(): number {
    return this.#heldLocks.count;
  }

  /** A write(2) to a module parameter: see moduleParameter(). */
  parameter(name: string): (text: string) => void {
    return moduleParameter(this.#parameters, name, this.#options.profile);
  }

  checkExtension(extension: number): number {
    return checkExtension(this.#options.profile, extension);
  }

  /** ST-3 */
  open(iommuType: number, tables?: TableFile, entries?: EntryFile): Type1 {
    const entriesFile = entries && new PersistentEntries(entries);
    const nesting = iommuType === VFIO_TYPE1_NESTING_IOMMU;
    const v2 = iommuType === VFIO_TYPE1v2_IOMMU || nesting;
    if (!v2 && iommuType !== VFIO_TYPE1_IOMMU) throw einval(`type1 does not serve IOMMU type ${iommuType}`);
    return new Type1(new VfioIommu({ ...this.#options, v2, nesting, tables, entriesFile }));
  }
}

export class Type1 implements ContainerIommu {
  readonly #iommu: VfioIommu;
  #released = false;

  constructor(iommu: VfioIommu) {
    this.#iommu = iommu;
    iommu.peers.goes = (memory) => deviceMemoryGoes(iommu, memory);
  }

  attachGroup(group: IommuGroup, task: Task): void | Promise<void> {
    return this.#iommu.lock.enter(() => attachGroup(this.#iommu, group, task));
  }

  detachGroup(group: IommuGroup): void | Promise<void> {
    return this.#iommu.lock.enter(() => this.#iommu.lock.run(detachGroup(this.#iommu, group)));
  }

  release(): void | Promise<void> {
    this.#released = true;
    return this.#iommu.lock.enter(() => this.#iommu.lock.run(release(this.#iommu)));
  }

  /**
   * Returns a promise only where the kernel would sleep: to wait for the lock; in long work, which
   * goes on in slices; and in UNMAP while drivers of mediated devices unpin.
   */
  ioctl(nr: number, arg: UserArg, task: Task): number | Promise<number> {
    return this.#iommu.lock.enter(() => this.#ioctl(nr, arg, task));
  }

  #ioctl(nr: number, arg: UserArg, task: Task): number | Promise<number> {
    // this happened while the call waited for the lock
    if (this.#released) throw einval('the last group has left the container');
    switch (nr) {
      case VFIO_IOMMU_GET_INFO:
        getInfo(this.#iommu, arg);
        return 0;
      case VFIO_IOMMU_MAP_DMA:
        return mapDma(this.#iommu, arg, task);
      case VFIO_IOMMU_UNMAP_DMA:
        return unmapDma(this.#iommu, arg, task)?.then(() => 0) ?? 0;
      case VFIO_IOMMU_DIRTY_PAGES:
        return dirtyPages(this.#iommu, arg, task);
      default:
        throw new SysError('ENOTTY', `ioctl ${hex(nr)} on a type1 container`);
    }
  }

  checkExtension(extension: number): number {
    return checkExtension(this.#iommu.profile, extension, this.#iommu);
  }

  /** CORE-11 */
  containerClosed(): void {
    if (!this.#iommu.profile.closeWakes) return;
    this.#iommu.containerOpen = false;
    this.#iommu.waiters.wakeAll();
  }

  /**
   * The counterpart of vfio_register_iommu_driver: a driver that pins pages must listen (MDV-2).
   */
  registerDevice(listener: DmaUnmapListener): void {
    this.#iommu.listeners.add(listener);
  }

  unregisterDevice(listener: DmaUnmapListener): void {
    this.#iommu.listeners.delete(listener);
  }

  pinPages(request: PinRequest): Promise<readonly number[]> {
    return pinPages(this.#iommu, request);
  }

  unpinPages(vpn: number, nrPages: number): number | Promise<number> {
    return this.#iommu.lock.enter(() => unpinPages(this.#iommu, vpn, nrPages));
  }

  dmaRw(request: RwRequest): boolean | Promise<boolean> {
    return dmaRw(this.#iommu, request);
  }

  leaveToNextKernel(): boolean {
    this.#iommu.leaving = this.#iommu.persistentDomain !== undefined;
    return this.#iommu.leaving;
  }

  get stats(): ContainerIommuStats {
    const { nrEntries, mappedPages, unpinnedPages, vaddrInvalidCount } = this.#iommu;
    return {
      mappings: nrEntries,
      mappedBytes: mappedPages * 4096,
      ...(unpinnedPages === 0 ? {} : { unpinnedBytes: unpinnedPages * 4096 }),
      invalidVaddrs: vaddrInvalidCount,
    };
  }
}
