/**
 * Numbers and structs of the VFIO user API, as in linux/vfio.h of v6.12. They are in the header's
 * order, with its comments shortened. The s390, spapr, gfx and v1-migration parts of the header are
 * left out, because nothing here answers them. All ioctl numbers are `_IO(';', 100 + n)`. They
 * carry no size and no direction, and the same number means different things on different fds.
 */
import { defineStruct, s32, u8, u16, u32, u64 } from '../../platform/struct.ts';

export const VFIO_API_VERSION = 0;

/* Extensions: ids of VFIO_CHECK_EXTENSION, the IOMMU ones of VFIO_SET_IOMMU too (NUM-2). */
export const VFIO_TYPE1_IOMMU = 1;
export const VFIO_SPAPR_TCE_IOMMU = 2;
export const VFIO_TYPE1v2_IOMMU = 3;
export const VFIO_DMA_CC_IOMMU = 4; // IOMMU enforces DMA cache coherence
export const VFIO_EEH = 5;
export const VFIO_TYPE1_NESTING_IOMMU = 6; // implies v2; reserved in later headers
export const VFIO_SPAPR_TCE_v2_IOMMU = 7;
export const VFIO_NOIOMMU_IOMMU = 8;
export const VFIO_UNMAP_ALL = 9; // VFIO_DMA_UNMAP_FLAG_ALL is supported
export const VFIO_UPDATE_VADDR = 10; // the VADDR flags of map and unmap are supported

const VFIO_TYPE = ';'.charCodeAt(0);
const VFIO_BASE = 100;
const vfioIo = (n: number): number => (VFIO_TYPE << 8) | (VFIO_BASE + n);

/**
 * Header of a capability in an INFO buffer; `next` counts from the start of that buffer, 0 ends the
 * chain.
 */
export const InfoCapHeader = defineStruct('vfio_info_cap_header', { id: u16, version: u16, next: u32 });

/* -------- IOCTLs for the VFIO file descriptor (/dev/vfio/vfio) -------- */

export const VFIO_GET_API_VERSION = vfioIo(0); // returns VFIO_API_VERSION
export const VFIO_CHECK_EXTENSION = vfioIo(1); // extension id by value
export const VFIO_SET_IOMMU = vfioIo(2); // IOMMU type by value

/* -------- IOCTLs for GROUP file descriptors (/dev/vfio/$GROUP) -------- */

export const GroupStatus = defineStruct('vfio_group_status', { argsz: u32, flags: u32 });
export const VFIO_GROUP_FLAGS_VIABLE = 1 << 0;
export const VFIO_GROUP_FLAGS_CONTAINER_SET = 1 << 1;
export const VFIO_GROUP_GET_STATUS = vfioIo(3);
export const VFIO_GROUP_SET_CONTAINER = vfioIo(4); // pointer to the container's fd (s32)
export const VFIO_GROUP_UNSET_CONTAINER = vfioIo(5);
export const VFIO_GROUP_GET_DEVICE_FD = vfioIo(6); // pointer to the device's name, a C string

/* -------- IOCTLs for DEVICE file descriptors -------- */

/** `cap_offset` exists since 5.10 and `pad` (size 24) since 6.6. The least argsz stays 16. */
export const DeviceInfo = defineStruct('vfio_device_info', {
  argsz: u32,
  flags: u32,
  num_regions: u32, // max region index + 1
  num_irqs: u32, // max IRQ index + 1
  cap_offset: u32,
  pad: u32,
});
export const VFIO_DEVICE_FLAGS_RESET = 1 << 0;
export const VFIO_DEVICE_FLAGS_PCI = 1 << 1;
export const VFIO_DEVICE_FLAGS_PLATFORM = 1 << 2;
export const VFIO_DEVICE_FLAGS_AMBA = 1 << 3;
export const VFIO_DEVICE_FLAGS_CCW = 1 << 4;
export const VFIO_DEVICE_FLAGS_AP = 1 << 5;
export const VFIO_DEVICE_FLAGS_FSL_MC = 1 << 6;
export const VFIO_DEVICE_FLAGS_CAPS = 1 << 7;
export const VFIO_DEVICE_GET_INFO = vfioIo(7);

export const RegionInfo = defineStruct('vfio_region_info', {
  argsz: u32,
  flags: u32,
  index: u32,
  cap_offset: u32,
  size: u64,
  offset: u64, // of the region within the device fd
});
export const VFIO_REGION_INFO_FLAG_READ = 1 << 0;
export const VFIO_REGION_INFO_FLAG_WRITE = 1 << 1;
export const VFIO_REGION_INFO_FLAG_MMAP = 1 << 2;
export const VFIO_REGION_INFO_FLAG_CAPS = 1 << 3;
export const VFIO_DEVICE_GET_REGION_INFO = vfioIo(8);

export const VFIO_REGION_INFO_CAP_SPARSE_MMAP = 1;
export const RegionSparseMmapArea = defineStruct('vfio_region_sparse_mmap_area', { offset: u64, size: u64 });
/** Followed by nr_areas RegionSparseMmapArea. */
export const RegionInfoCapSparseMmap = defineStruct('vfio_region_info_cap_sparse_mmap', {
  id: u16,
  version: u16,
  next: u32,
  nr_areas: u32,
  reserved: u32,
});
export const VFIO_REGION_INFO_CAP_TYPE = 2;
export const VFIO_REGION_INFO_CAP_MSIX_MAPPABLE = 3;

export const IrqInfo = defineStruct('vfio_irq_info', { argsz: u32, flags: u32, index: u32, count: u32 });
export const VFIO_IRQ_INFO_EVENTFD = 1 << 0;
export const VFIO_IRQ_INFO_MASKABLE = 1 << 1;
export const VFIO_IRQ_INFO_AUTOMASKED = 1 << 2;
export const VFIO_IRQ_INFO_NORESIZE = 1 << 3;
export const VFIO_DEVICE_GET_IRQ_INFO = vfioIo(9);

/** Followed by data[]: `count` elements of u8 (BOOL) or s32 (EVENTFD). */
export const IrqSet = defineStruct('vfio_irq_set', { argsz: u32, flags: u32, index: u32, start: u32, count: u32 });
export const VFIO_IRQ_SET_DATA_NONE = 1 << 0;
export const VFIO_IRQ_SET_DATA_BOOL = 1 << 1;
export const VFIO_IRQ_SET_DATA_EVENTFD = 1 << 2;
export const VFIO_IRQ_SET_ACTION_MASK = 1 << 3;
export const VFIO_IRQ_SET_ACTION_UNMASK = 1 << 4;
export const VFIO_IRQ_SET_ACTION_TRIGGER = 1 << 5;
export const VFIO_DEVICE_SET_IRQS = vfioIo(10);
export const VFIO_IRQ_SET_DATA_TYPE_MASK = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_DATA_BOOL | VFIO_IRQ_SET_DATA_EVENTFD;
export const VFIO_IRQ_SET_ACTION_TYPE_MASK =
  VFIO_IRQ_SET_ACTION_MASK | VFIO_IRQ_SET_ACTION_UNMASK | VFIO_IRQ_SET_ACTION_TRIGGER;

export const VFIO_DEVICE_RESET = vfioIo(11);

export const VFIO_PCI_BAR0_REGION_INDEX = 0;
export const VFIO_PCI_BAR5_REGION_INDEX = 5;
export const VFIO_PCI_ROM_REGION_INDEX = 6;
export const VFIO_PCI_CONFIG_REGION_INDEX = 7;
export const VFIO_PCI_VGA_REGION_INDEX = 8;
export const VFIO_PCI_NUM_REGIONS = 9;

export const VFIO_PCI_INTX_IRQ_INDEX = 0;
export const VFIO_PCI_MSI_IRQ_INDEX = 1;
export const VFIO_PCI_MSIX_IRQ_INDEX = 2;
export const VFIO_PCI_ERR_IRQ_INDEX = 3;
export const VFIO_PCI_REQ_IRQ_INDEX = 4;
export const VFIO_PCI_NUM_IRQS = 5;

export const PciDependentDevice = defineStruct('vfio_pci_dependent_device', {
  group_id: u32,
  segment: u16,
  bus: u8,
  devfn: u8,
});
/** Followed by `count` PciDependentDevice. */
export const PciHotResetInfo = defineStruct('vfio_pci_hot_reset_info', { argsz: u32, flags: u32, count: u32 });
export const VFIO_DEVICE_GET_PCI_HOT_RESET_INFO = vfioIo(12);
/** Followed by `count` group fds (s32). */
export const PciHotReset = defineStruct('vfio_pci_hot_reset', { argsz: u32, flags: u32, count: u32 });
export const VFIO_DEVICE_PCI_HOT_RESET = vfioIo(13);

export const VFIO_DEVICE_QUERY_GFX_PLANE = vfioIo(14);
export const VFIO_DEVICE_GET_GFX_DMABUF = vfioIo(15);

export const DeviceIoeventfd = defineStruct('vfio_device_ioeventfd', {
  argsz: u32,
  flags: u32,
  offset: u64, // device fd offset of the write
  data: u64, // data to be written
  fd: s32, // −1 removes
  reserved: u32, // since 6.6
});
export const VFIO_DEVICE_IOEVENTFD_8 = 1 << 0;
export const VFIO_DEVICE_IOEVENTFD_16 = 1 << 1;
export const VFIO_DEVICE_IOEVENTFD_32 = 1 << 2;
export const VFIO_DEVICE_IOEVENTFD_64 = 1 << 3;
export const VFIO_DEVICE_IOEVENTFD_SIZE_MASK = 0xf;
export const VFIO_DEVICE_IOEVENTFD = vfioIo(16);

/** Followed by the feature's data. */
export const DeviceFeature = defineStruct('vfio_device_feature', { argsz: u32, flags: u32 });
export const VFIO_DEVICE_FEATURE_MASK = 0xffff;
export const VFIO_DEVICE_FEATURE_GET = 1 << 16;
export const VFIO_DEVICE_FEATURE_SET = 1 << 17;
export const VFIO_DEVICE_FEATURE_PROBE = 1 << 18;
export const VFIO_DEVICE_FEATURE = vfioIo(17);

export const VFIO_DEVICE_FEATURE_PCI_VF_TOKEN = 0;
export const VFIO_DEVICE_FEATURE_MIGRATION = 1;
export const VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE = 2;
export const VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY = 3;
export const VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP = 4;
export const VFIO_DEVICE_FEATURE_LOW_POWER_EXIT = 5;
export const VFIO_DEVICE_FEATURE_DMA_LOGGING_START = 6;
export const VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP = 7;
export const VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT = 8;
export const VFIO_DEVICE_FEATURE_MIG_DATA_SIZE = 9;
export const VFIO_DEVICE_FEATURE_DMA_BUF = 11; // v6.19
/** Data of the feature, followed by the ranges. */
export const DeviceFeatureDmaBuf = defineStruct('vfio_device_feature_dma_buf', {
  region_index: u32,
  open_flags: u32,
  flags: u32,
  nr_ranges: u32,
});
export const RegionDmaRange = defineStruct('vfio_region_dma_range', { offset: u64, length: u64 });
export const VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2 = 12; // 2026

/* -------- API for Type1 VFIO IOMMU -------- */

/** The least argsz is 16 (NUM-8). */
export const Type1Info = defineStruct('vfio_iommu_type1_info', {
  argsz: u32,
  flags: u32,
  iova_pgsizes: u64, // bitmap of supported page sizes
  cap_offset: u32,
  pad: u32,
});
export const VFIO_IOMMU_INFO_PGSIZES = 1 << 0;
export const VFIO_IOMMU_INFO_CAPS = 1 << 1;

export const VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE = 1;
/** An inclusive range: `end` is its last byte. */
export const IovaRange = defineStruct('vfio_iova_range', { start: u64, end: u64 });
/** Followed by nr_iovas IovaRange. */
export const Type1InfoCapIovaRange = defineStruct('vfio_iommu_type1_info_cap_iova_range', {
  id: u16,
  version: u16,
  next: u32,
  nr_iovas: u32,
  reserved: u32,
});
export const VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION = 2;
export const Type1InfoCapMigration = defineStruct('vfio_iommu_type1_info_cap_migration', {
  id: u16,
  version: u16,
  next: u32,
  flags: u32,
  pgsize_bitmap: u64,
  max_dirty_bitmap_size: u64, // in bytes
});
export const VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL = 3;
export const Type1InfoDmaAvail = defineStruct('vfio_iommu_type1_info_dma_avail', {
  id: u16,
  version: u16,
  next: u32,
  avail: u32,
});
export const VFIO_IOMMU_GET_INFO = vfioIo(12);

export const DmaMap = defineStruct('vfio_iommu_type1_dma_map', {
  argsz: u32,
  flags: u32,
  vaddr: u64, // process virtual address
  iova: u64, // IO virtual address
  size: u64, // bytes
});
export const VFIO_DMA_MAP_FLAG_READ = 1 << 0; // readable from device
export const VFIO_DMA_MAP_FLAG_WRITE = 1 << 1; // writable from device
export const VFIO_DMA_MAP_FLAG_VADDR = 1 << 2; // update the vaddr of an existing mapping
export const VFIO_IOMMU_MAP_DMA = vfioIo(13);

export const Bitmap = defineStruct('vfio_bitmap', {
  pgsize: u64, // page size of one bit
  size: u64, // bytes
  data: u64, // pointer to a u64 array, one bit per page
});

/** Followed by a Bitmap with VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP. */
export const DmaUnmap = defineStruct('vfio_iommu_type1_dma_unmap', { argsz: u32, flags: u32, iova: u64, size: u64 });
export const VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP = 1 << 0;
export const VFIO_DMA_UNMAP_FLAG_ALL = 1 << 1; // all mappings; iova and size must be 0
export const VFIO_DMA_UNMAP_FLAG_VADDR = 1 << 2; // invalidate the vaddrs, keep the mappings
export const VFIO_IOMMU_UNMAP_DMA = vfioIo(14);

/* Unknown numbers, unless the driver of the container is spapr. */
export const VFIO_IOMMU_ENABLE = vfioIo(15);
export const VFIO_IOMMU_DISABLE = vfioIo(16);

/** Followed by a DirtyBitmapGet with VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP. */
export const DirtyBitmap = defineStruct('vfio_iommu_type1_dirty_bitmap', { argsz: u32, flags: u32 });
export const VFIO_IOMMU_DIRTY_PAGES_FLAG_START = 1 << 0;
export const VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP = 1 << 1;
export const VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP = 1 << 2;
/** struct vfio_iommu_type1_dirty_bitmap_get with its nested struct vfio_bitmap written out. */
export const DirtyBitmapGet = defineStruct('vfio_iommu_type1_dirty_bitmap_get', {
  iova: u64,
  size: u64, // bytes of IOVA
  'bitmap.pgsize': u64,
  'bitmap.size': u64,
  'bitmap.data': u64,
});
export const VFIO_IOMMU_DIRTY_PAGES = vfioIo(17);

export const VFIO_EEH_PE_OP = vfioIo(21);

/**
 * File offset of region `index` on a device fd is index << 40 (drivers/vfio/pci,
 * VFIO_PCI_OFFSET_SHIFT; NUM-5).
 */
export const VFIO_PCI_OFFSET_SHIFT = 40;

/*
 * -------- Names of the ioctls, for messages. They are by kind of file, because the same number is
 * another call on another kind. --------
 */

const names = (calls: Readonly<Record<string, number>>): ReadonlyMap<number, string> =>
  new Map(Object.entries(calls).map(([name, nr]) => [nr, name]));

export const CONTAINER_IOCTLS = names({
  VFIO_GET_API_VERSION,
  VFIO_CHECK_EXTENSION,
  VFIO_SET_IOMMU,
  VFIO_IOMMU_GET_INFO,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_IOMMU_ENABLE,
  VFIO_IOMMU_DISABLE,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_EEH_PE_OP,
});

export const GROUP_IOCTLS = names({
  VFIO_GROUP_GET_STATUS,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_GROUP_UNSET_CONTAINER,
  VFIO_GROUP_GET_DEVICE_FD,
});

export const DEVICE_IOCTLS = names({
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_SET_IRQS,
  VFIO_DEVICE_RESET,
  VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
  VFIO_DEVICE_PCI_HOT_RESET,
  VFIO_DEVICE_QUERY_GFX_PLANE,
  VFIO_DEVICE_GET_GFX_DMABUF,
  VFIO_DEVICE_IOEVENTFD,
  VFIO_DEVICE_FEATURE,
});
