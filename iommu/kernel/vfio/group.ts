/**
 * IOMMU groups and their files, /dev/vfio/<n> (drivers/vfio/group.c; CORE-4…10). A group exists as
 * long as the board. Its file is open at most once. Each open device fd holds the group's file, so
 * the group leaves its container only when all these fds are closed.
 */
import { ebusy, einval, enodev, SysError } from '../../../platform/errno.ts';
import { hex } from '../../../platform/hex.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';
import type { GroupInfo } from '../../abi/control.ts';
import {
  GROUP_IOCTLS,
  GroupStatus,
  VFIO_GROUP_FLAGS_CONTAINER_SET,
  VFIO_GROUP_FLAGS_VIABLE,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_GET_STATUS,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_GROUP_UNSET_CONTAINER,
} from '../../abi/vfio.ts';
import { VFIO_GROUP_DIR } from '../../abi/wire.ts';
import { type Caller, type FileOperations, type OpenFile, releaseGoesOn } from '../core/open-file.ts';
import type { Profile } from '../core/profile.ts';
import { SleepingLock } from '../core/sleeping-lock.ts';
import type { UserArg } from '../core/user-arg.ts';
import { Container } from './container.ts';
import type { IommuGroup } from './container-iommu.ts';
import type { VfioDevice } from './device.ts';
import { DeviceFile } from './device-file.ts';

export interface GroupOptions {
  readonly iommuGroup: IommuGroup;
  readonly devices: readonly VfioDevice[];
  readonly profile: Profile;
}

export class Group {
  readonly iommuGroup: IommuGroup;
  readonly devices: readonly VfioDevice[];
  readonly profile: Profile;
  /** group_lock: SET/UNSET_CONTAINER may sleep under it; status and device fds wait for them. */
  readonly lock = new SleepingLock();
  container: Container | undefined;
  opened = false;

  constructor({ iommuGroup, devices, profile }: GroupOptions) {
    this.iommuGroup = iommuGroup;
    this.devices = devices;
    this.profile = profile;
  }

  get id(): number {
    return this.iommuGroup.id;
  }

  get nrDevices(): number {
    return this.devices.length;
  }

  /**
   * open(2). EBUSY while the group's file is open; a dup or a device fd also keeps it open
   * (CORE-7).
   */
  open(): GroupFile {
    if (this.opened) throw ebusy(`group ${this.id} is open already`);
    this.opened = true;
    return new GroupFile(this);
  }

  /** True while a device of the group is open: the container cannot be taken away then (CORE-5). */
  inUse(): boolean {
    return this.devices.some((device) => device.openCount > 0);
  }

  /** For /dev/livevmm. */
  info(): GroupInfo {
    const container = this.container ? { container: this.container.id } : {};
    return { group: this.id, devices: this.devices.map(({ name }) => name), open: this.opened, ...container };
  }

  /** vfio_group_detach_container */
  leaveContainer(): void | Promise<void> {
    const { container } = this;
    this.container = undefined;
    return container?.detachGroup(this.iommuGroup);
  }
}

class GroupFile implements FileOperations {
  readonly name: string;
  readonly ioctlNames = GROUP_IOCTLS;
  readonly #group: Group;

  constructor(group: Group) {
    this.#group = group;
    this.name = `${VFIO_GROUP_DIR}${group.id}`;
  }

  ioctl(nr: number, arg: UserArg, caller: Caller): number | Promise<number> {
    switch (nr) {
      case VFIO_GROUP_GET_STATUS:
        return this.#getStatus(arg);
      case VFIO_GROUP_SET_CONTAINER:
        return this.#setContainer(arg, caller);
      case VFIO_GROUP_UNSET_CONTAINER:
        return this.#group.lock.run(() => this.#unsetContainer());
      case VFIO_GROUP_GET_DEVICE_FD:
        return this.#getDeviceFd(arg, caller);
    }
    throw new SysError('ENOTTY', `ioctl ${hex(nr)} on a group`);
  }

  /** CORE-8. Every device here is bound to vfio, so a group is always viable. */
  #getStatus(arg: UserArg): number | Promise<number> {
    const { argsz } = arg.read(GroupStatus);
    if (argsz < GroupStatus.size) throw einval(`group status: argsz ${argsz}`);
    return this.#group.lock.run(() => {
      const inContainer = this.#group.container !== undefined;
      const flags = VFIO_GROUP_FLAGS_VIABLE | (inContainer ? VFIO_GROUP_FLAGS_CONTAINER_SET : 0);
      arg.copyOut(0, GroupStatus.bytes({ argsz, flags }));
      return 0;
    });
  }

  /**
   * CORE-4. The container's file is held for the whole attach, so a close(2) of its fd does not end
   * a sleep (CORE-12).
   */
  async #setContainer(arg: UserArg, caller: Caller): Promise<number> {
    const group = this.#group;
    const fd = arg.copyIn(4).getInt32(0, true);
    const file = caller.file(fd)?.get();
    try {
      await group.lock.run(async () => {
        if (group.container) throw einval(`group ${group.id} is in a container`);
        const container = containerOf(file, fd, group.profile);
        await container.attachGroup(group.iommuGroup, caller.task);
        group.container = container;
      });
    } finally {
      file?.put();
    }
    return 0;
  }

  /** CORE-5 */
  #unsetContainer(): number | Promise<number> {
    const group = this.#group;
    if (!group.container) throw einval(`group ${group.id} is in no container`);
    if (group.inUse()) throw ebusy(`group ${group.id} has an open device`);
    const leaving = group.leaveContainer();
    return leaving ? leaving.then(() => 0) : 0;
  }

  /** CORE-6: the name is looked up before container and driver are tested. */
  #getDeviceFd(arg: UserArg, caller: Caller): number | Promise<number> {
    const group = this.#group;
    const name = arg.copyInString(PAGE_SIZE);
    const device = group.devices.find((one) => (one.matches ? one.matches(name) : one.name === name));
    if (!device) throw enodev(`group ${group.id} has no device ${name}`);
    return group.lock.run(() => {
      if (device.leaving) throw enodev(`${device.name} is taken from its driver`);
      if (!group.container?.hasIommu()) throw einval(`group ${group.id} has no IOMMU`);
      const groupFile = caller.thisFile.get();
      try {
        caller.install(
          new DeviceFile(
            device.open(() => groupFile.put(), group),
            group.profile,
          ),
        );
      } catch (error) {
        groupFile.put();
        throw error;
      }
      return 0;
    });
  }

  /** The group fd and all device fds are closed: the group leaves its container (CORE-9). */
  release(): void {
    const group = this.#group;
    const closed = (): void => {
      group.opened = false;
    };
    const leaving = group.lock.run(() => group.leaveContainer());
    if (leaving) releaseGoesOn(leaving.then(closed));
    else closed();
  }
}

function containerOf(file: OpenFile | undefined, fd: number, profile: Profile): Container {
  if (file?.operations instanceof Container) return file.operations;
  throw new SysError(profile.notAContainer, `fd ${fd} is no container`);
}
