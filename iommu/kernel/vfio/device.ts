/**
 * The VFIO core's view of a device, and the calls that a device's driver may serve (struct
 * vfio_device, struct vfio_device_ops).
 */
import type { Caller, FileOperations } from '../core/open-file.ts';
import type { UserArg } from '../core/user-arg.ts';
import type { ContainerIommu, IommuGroup } from './container-iommu.ts';

/** struct vfio_group: the group of a device, as the device's driver sees it. */
export interface DeviceGroup {
  readonly iommuGroup: IommuGroup;
  readonly nrDevices: number;
  readonly container: { readonly iommu: ContainerIommu | undefined } | undefined;
}

/** A VFIO_DEVICE_FEATURE call whose arguments are valid. */
export interface FeatureRequest {
  readonly feature: number;
  /** The flags GET, SET, PROBE and the feature's number. */
  readonly flags: number;
  /** Bytes of data that the user says follow the struct. */
  readonly room: number;
}

/**
 * One file of a device: the part that the driver serves behind the core (device-file.ts). A call
 * that the driver leaves out is EINVAL.
 */
export interface DeviceOps
  extends Pick<
    FileOperations,
    'name' | 'pread' | 'pwrite' | 'mmap' | 'object' | 'registerPage' | 'interruptPage' | 'release'
  > {
  /** All ioctls but VFIO_DEVICE_FEATURE. */
  ioctl?: FileOperations['ioctl'];
  /**
   * Serves a feature that the core does not serve itself. `arg` is the argument of the ioctl.
   * ENOTTY for an unknown feature.
   */
  feature?(request: FeatureRequest, arg: UserArg, caller: Caller): number;
}

export interface VfioDevice {
  /** The name that VFIO_GROUP_GET_DEVICE_FD takes: for PCI the bdf. */
  readonly name: string;
  /**
   * Tells whether VFIO_GROUP_GET_DEVICE_FD may call the device by this name
   * (vfio_device_ops.match). Throws the errno of a name that is meant for the device and wrong.
   * Absent: only `name` itself is accepted.
   */
  matches?(name: string): boolean;
  /** The device cannot be opened any more, or has no driver any more (PCI-14). */
  readonly leaving?: boolean;
  readonly gone?: boolean;
  /** How many files of the device are open. */
  readonly openCount: number;
  /**
   * Opens a new file of the device. `released` is called at the file's end. The first open enables
   * the device, the last close disables it.
   */
  open(released: () => void, group: DeviceGroup): DeviceOps;
}
