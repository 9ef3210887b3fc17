/** What the VFIO core knows of a device: its name, and that it can be opened more than once (struct vfio_device). */
import type { FileOperations } from '../open-file.ts';
import type { ContainerIommu, IommuGroup } from './iommu-driver-ops.ts';

/** The group of a device as its driver sees it: struct vfio_group. */
export interface DeviceGroup {
  readonly iommuGroup: IommuGroup;
  readonly devices: readonly unknown[];
  readonly container: { readonly iommu: ContainerIommu | undefined } | undefined;
}

export interface VfioDevice {
  /** As VFIO_GROUP_GET_DEVICE_FD names it: for PCI the bdf. */
  readonly name: string;
  /** Files that are open. */
  readonly openCount: number;
  /** A new file of it; `released` is called at the file's end. The first open enables the device, the last close disables it. */
  open(released: () => void, group: DeviceGroup): FileOperations;
}
