/**
 * System calls on a group fd. Each function makes one call, which returns or throws the errno of
 * the kernel (SysError).
 */
import {
  GroupStatus,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_GET_STATUS,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_GROUP_UNSET_CONTAINER,
} from '../../iommu/abi/vfio.ts';
import { VFIO_GROUP_DIR } from '../../iommu/abi/wire.ts';
import { viewOf } from '../../platform/struct.ts';
import type { KernelClient } from './kernel-client.ts';
import type { FileCalls } from './task-channel.ts';

/** open(2) of /dev/vfio/NUMBER; returns the fd. EBUSY: the group is open already. */
export function openGroup(client: KernelClient, number: number): number {
  return client.open(`${VFIO_GROUP_DIR}${number}`);
}

/** VFIO_GROUP_GET_STATUS: VFIO_GROUP_FLAGS_VIABLE, VFIO_GROUP_FLAGS_CONTAINER_SET. */
export function getGroupStatus(calls: FileCalls, group: number): number {
  const status = GroupStatus.bytes({ argsz: GroupStatus.size });
  calls.ioctl(group, VFIO_GROUP_GET_STATUS, status);
  return GroupStatus.read(viewOf(status)).flags;
}

/** The argument of VFIO_GROUP_SET_CONTAINER: an int. */
export function containerArg(container: number): Uint8Array {
  return new Uint8Array(Int32Array.of(container).buffer);
}

/**
 * VFIO_GROUP_SET_CONTAINER. EINVAL: the group has a container already. EBUSY: the container's
 * vaddrs are invalid (6.3 and later).
 */
export function setContainer(calls: FileCalls, group: number, container: number): void {
  calls.ioctl(group, VFIO_GROUP_SET_CONTAINER, containerArg(container));
}

/** VFIO_GROUP_UNSET_CONTAINER. EBUSY: a device of the group is open. */
export function unsetContainer(calls: FileCalls, group: number): void {
  calls.ioctl(group, VFIO_GROUP_UNSET_CONTAINER, 0);
}

/** The argument of VFIO_GROUP_GET_DEVICE_FD: a C string. */
export function deviceNameArg(name: string): Uint8Array {
  return new TextEncoder().encode(`${name}\0`);
}

/**
 * VFIO_GROUP_GET_DEVICE_FD: a fd of the device `name`, its bdf. ENODEV: the group has no device of
 * that name.
 */
export function openDevice(client: KernelClient, group: number, name: string): number {
  return client.ioctl(group, VFIO_GROUP_GET_DEVICE_FD, deviceNameArg(name));
}
