/**
 * /dev/vfio/vfio: a container, the set of groups that share one IOMMU context
 * (drivers/vfio/container.c; CORE-1…3, 9…13).
 */
import { ebadf, ebusy, eexist, einval, enodev } from '../../../platform/errno.ts';
import type { ContainerInfo } from '../../abi/control.ts';
import {
  SetPersistentPgtables,
  VFIO_CONTAINER_SET_PERSISTENT_ENTRIES,
  VFIO_CONTAINER_SET_PERSISTENT_PGTABLES,
} from '../../abi/persistent-tables.ts';
import {
  CONTAINER_IOCTLS,
  VFIO_API_VERSION,
  VFIO_CHECK_EXTENSION,
  VFIO_GET_API_VERSION,
  VFIO_SET_IOMMU,
} from '../../abi/vfio.ts';
import { VFIO_CONTAINER_PATH } from '../../abi/wire.ts';
import type { Caller, FileOperations } from '../core/open-file.ts';
import { SleepingLock } from '../core/sleeping-lock.ts';
import type { Task } from '../core/task.ts';
import type { UserArg } from '../core/user-arg.ts';
import type { TableFile } from '../driver/domain.ts';
import { KIND, type Kind } from '../pkernfs/layout.ts';
import { PkernfsFile } from '../pkernfs/open-files.ts';
import type { File } from '../pkernfs/pkernfs.ts';
import type { ContainerIommu, EntryFile, IommuGroup, VfioIommuDriver } from './container-iommu.ts';

let lastId = 0;

/** Persistent page tables, on a host that has memory for them. */
export interface Persistence {
  /** First page of a file of pkernfs. */
  pfnOf(firstBlock: number): number;
  wordsOf(firstBlock: number): Int32Array;
}

export class Container implements FileOperations {
  readonly name = VFIO_CONTAINER_PATH;
  readonly ioctlNames = CONTAINER_IOCTLS;
  /** For lists only. */
  readonly id = ++lastId;
  readonly #driver: VfioIommuDriver;
  readonly #onEmpty: (container: Container) => void;
  /**
   * group_lock: attach, detach and SET_IOMMU hold it throughout. Apart from them only
   * CHECK_EXTENSION takes it (CORE-12).
   */
  readonly #groupLock = new SleepingLock();
  /** Newest first, as in the kernel's list. */
  readonly #groups: IommuGroup[] = [];
  #iommu: ContainerIommu | undefined;
  #iommuType: number | undefined;
  readonly #persistence: Persistence | undefined;
  /** The file that SET_PERSISTENT_PGTABLES has named. It is in use until the container is gone. */
  #tables: File | undefined;
  /** The file of its mappings; likewise. */
  #entries: File | undefined;
  #open = true;

  /** `onEmpty` is called when neither a fd nor a group refers to the container any more. */
  constructor(driver: VfioIommuDriver, onEmpty: (container: Container) => void, persistence?: Persistence) {
    this.#driver = driver;
    this.#onEmpty = onEmpty;
    this.#persistence = persistence;
  }

  /**
   * The ioctl of a container's fd. A number that the container does not know goes to the driver,
   * after SET_IOMMU only, and with no lock taken (CORE-12).
   */
  ioctl(nr: number, arg: UserArg, caller: Caller): number | Promise<number> {
    const { task } = caller;
    switch (nr) {
      case VFIO_GET_API_VERSION:
        return VFIO_API_VERSION;
      case VFIO_CHECK_EXTENSION:
        return this.#groupLock.run(() => (this.#iommu ?? this.#driver).checkExtension(arg.number));
      case VFIO_SET_IOMMU:
        return this.#groupLock.run(() => this.#setIommu(arg.number, task));
      case VFIO_CONTAINER_SET_PERSISTENT_PGTABLES:
        if (this.#persistence) return this.#groupLock.run(() => this.#setPersistentTables(arg, caller));
        break;
      case VFIO_CONTAINER_SET_PERSISTENT_ENTRIES:
        if (this.#persistence) return this.#groupLock.run(() => this.#setPersistentEntries(arg, caller));
    }
    // CORE-1
    if (!this.#iommu) throw einval('the container has no IOMMU driver: SET_IOMMU comes first');
    return this.#iommu.ioctl(nr, arg, task);
  }

  /**
   * PKF-2, PKF-5: EFAULT: a bad pointer; EBADF: a bad fd, or a file that is not for page tables;
   * EINVAL: after SET_IOMMU; EEXIST: the container has a file; EBUSY: another container has it.
   */
  #setPersistentTables(arg: UserArg, caller: Caller): number {
    const file = this.#persistentFile(arg, caller, KIND.domain);
    if (this.#tables) throw eexist(`the container has its page tables in ${this.#tables.name}`);
    if (file.uses > 0) throw ebusy(`another container has its page tables in ${file.name}`);
    file.uses++;
    this.#tables = file;
    return 0;
  }

  /** Errors as #setPersistentTables; EINVAL also before SET_PERSISTENT_PGTABLES. */
  #setPersistentEntries(arg: UserArg, caller: Caller): number {
    const file = this.#persistentFile(arg, caller, KIND.container);
    if (!this.#tables) throw einval('SET_PERSISTENT_ENTRIES comes after SET_PERSISTENT_PGTABLES');
    if (this.#entries) throw eexist(`the container has its mappings in ${this.#entries.name}`);
    if (file.uses > 0) throw ebusy(`another container has its mappings in ${file.name}`);
    file.uses++;
    this.#entries = file;
    return 0;
  }

  #persistentFile(arg: UserArg, caller: Caller, kind: Kind): File {
    const view = arg.copyIn(SetPersistentPgtables.size);
    const fd = SetPersistentPgtables.read(view).persistent_pgtables_fd | 0;
    const operations = caller.file(fd)?.operations;
    if (!(operations instanceof PkernfsFile) || operations.file.kind !== kind || operations.file.gone) {
      throw ebadf(`fd ${fd} is no file for that`);
    }
    if (this.#iommu) throw einval('persistent files come before SET_IOMMU');
    return operations.file;
  }

  #entryFile(): EntryFile | undefined {
    const file = this.#entries;
    return file && { name: file.name, words: this.#persistence!.wordsOf(file.inode.firstBlock) };
  }

  #tableFile(): TableFile | undefined {
    const file = this.#tables;
    return file && { name: file.name, startPfn: this.#persistence!.pfnOf(file.inode.firstBlock) };
  }

  /** Whether the container leaves its devices to the next kernel; see ContainerIommu. */
  leaveToNextKernel(): boolean {
    return this.#iommu?.leaveToNextKernel?.() ?? false;
  }

  /** The groups that are in the container. */
  get groups(): readonly IommuGroup[] {
    return this.#groups;
  }

  /** vfio_ioctl_set_iommu (CORE-3). There is one driver, so no loop over drivers. */
  async #setIommu(iommuType: number, task: Task): Promise<number> {
    if (this.#groups.length === 0) throw einval('SET_IOMMU of a container without groups');
    if (this.#iommu) throw einval('SET_IOMMU of a container that has a driver');
    if (this.#driver.checkExtension(iommuType) <= 0) throw enodev(`no IOMMU driver serves type ${iommuType}`);
    const iommu = this.#driver.open(iommuType, this.#tableFile(), this.#entryFile());
    try {
      await attachAll(iommu, this.#groups, task);
    } catch (error) {
      await iommu.release();
      throw error;
    }
    this.#iommu = iommu;
    this.#iommuType = iommuType;
    return 0;
  }

  /**
   * vfio_container_attach_group, without the tests that the group makes (CORE-4). On an error the
   * group is not in the container.
   */
  async attachGroup(group: IommuGroup, task: Task): Promise<void> {
    await this.#groupLock.run(async () => {
      await this.#iommu?.attachGroup(group, task);
      this.#groups.unshift(group);
    });
  }

  /** vfio_group_detach_container. When the last group leaves, the driver goes too (CORE-10). */
  detachGroup(group: IommuGroup): void | Promise<void> {
    return this.#groupLock.run(() => {
      const detaching = this.#iommu?.detachGroup(group);
      return detaching ? detaching.then(() => this.#groupHasLeft(group)) : this.#groupHasLeft(group);
    });
  }

  #groupHasLeft(group: IommuGroup): void | Promise<void> {
    this.#groups.splice(this.#groups.indexOf(group), 1);
    if (this.#groups.length > 0) return;
    const releasing = this.#iommu?.release();
    this.#iommu = undefined;
    this.#iommuType = undefined;
    this.#forgetIfUnused();
    return releasing;
  }

  /** vfio_group_has_iommu. Device fds are given out only if this is true (CORE-6). */
  hasIommu(): boolean {
    return this.#iommu !== undefined;
  }

  /** The last close of the container's fd. The mappings live on with the groups (CORE-9). */
  release(): void {
    this.#open = false;
    this.#iommu?.containerClosed?.();
    this.#forgetIfUnused();
  }

  #forgetIfUnused(): void {
    if (this.#open || this.#groups.length > 0) return;
    if (this.#tables) this.#tables.uses--;
    if (this.#entries) this.#entries.uses--;
    this.#tables = undefined;
    this.#entries = undefined;
    this.#onEmpty(this);
  }

  get iommu(): ContainerIommu | undefined {
    return this.#iommu;
  }

  /** For /dev/livevmm. */
  info(): ContainerInfo {
    const stats = this.#iommu?.stats ?? { mappings: 0, mappedBytes: 0, invalidVaddrs: 0 };
    const type = this.#iommuType === undefined ? {} : { iommuType: this.#iommuType };
    return { id: this.id, ...type, groups: this.#groups.map(({ id }) => id), ...stats };
  }
}

/**
 * __vfio_container_attach_groups. The first failure detaches the groups attached so far, in reverse
 * order, and its errno is the result.
 */
async function attachAll(iommu: ContainerIommu, groups: readonly IommuGroup[], task: Task): Promise<void> {
  const attached: IommuGroup[] = [];
  try {
    for (const group of groups) {
      await iommu.attachGroup(group, task);
      attached.unshift(group);
    }
  } catch (error) {
    for (const group of attached) await iommu.detachGroup(group);
    throw error;
  }
}
