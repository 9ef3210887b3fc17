/**
 * What the VFIO core knows of a device, and what a device's driver may do (struct vfio_device,
 * struct vfio_device_ops).
 */
import type { Caller, FileOperations } from '../core/open-file.ts';
import type { UserArg } from '../core/user-arg.ts';
import type { ContainerIommu, IommuGroup } from './container-iommu.ts';

/** The group of a device as its driver sees it: struct vfio_group. */
export interface DeviceGroup {
  readonly iommuGroup: IommuGroup;
  readonly nrDevices: number;
  readonly container: { readonly iommu: ContainerIommu | undefined } | undefined;
}

/** VFIO_DEVICE_FEATURE with good arguments. */
export interface FeatureRequest {
  readonly feature: number;
  /** GET, SET, PROBE and the feature's number. */
  readonly flags: number;
  /** Bytes of data that the user says follow the struct. */
  readonly room: number;
}

/**
 * One file of a device, as its driver serves it behind the core (device-file.ts). What is absent is
 * EINVAL.
 */
export interface DeviceOps extends Pick<FileOperations, 'name' | 'pread' | 'pwrite' | 'mmap' | 'release'> {
  /** All but VFIO_DEVICE_FEATURE. */
  ioctl?: FileOperations['ioctl'];
  /**
   * A feature that is none of the core's; `arg` is that of the ioctl. ENOTTY for an unknown one.
   */
  feature?(request: FeatureRequest, arg: UserArg, caller: Caller): number;
}

export interface VfioDevice {
  /** As VFIO_GROUP_GET_DEVICE_FD names it: for PCI the bdf. */
  readonly name: string;
  /**
   * Whether that is what VFIO_GROUP_GET_DEVICE_FD may call it (vfio_device_ops.match); the errno of
   * a name that is meant for it and wrong. Absent: its name and nothing else.
   */
  matches?(name: string): boolean;
  /** Files that are open. */
  readonly openCount: number;
  /**
   * A new file of it; `released` is called at the file's end. The first open enables the device,
   * the last close disables it.
   */
  open(released: () => void, group: DeviceGroup): DeviceOps;
}
