/**
 * What the tree stands for: in these folders a program sees the emulated machine and nothing else.
 */
export const TREE_FOLDERS = [
  '/dev/iommu', // which is not in it: a kernel without iommufd
  '/dev/vfio',
  '/sys/bus/pci',
  '/sys/devices/pci0000:00',
  '/sys/class/vfio-dev',
  '/sys/kernel/iommu_groups',
  '/sys/module/vfio',
  '/sys/module/vfio_pci',
  '/sys/module/vfio_iommu_type1',
] as const;
