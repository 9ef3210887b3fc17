/**
 * The uapi of a window of iovas that a user donates for MSIs (RSV-1…8). It was never merged, and
 * the numbers of the series now have another meaning (NUM-10), so these are ours.
 */
import { defineStruct, u16, u32, u64 } from '../../platform/struct.ts';

/** MAP_DMA: [iova, iova + size) is for MSIs. vaddr, READ and WRITE are ignored. */
export const VFIO_DMA_MAP_FLAG_RESERVED_MSI = 1 << 4; // in the series 1 << 2

/** IOMMU_GET_INFO: the container needs such a window, or has one. */
export const VFIO_IOMMU_TYPE1_INFO_CAP_RESERVED_MSI = 0x100; // in the series 1
export const Type1InfoCapReservedMsi = defineStruct('vfio_iommu_type1_info_cap_msi_resv', {
  id: u16,
  version: u16,
  next: u32,
  size: u64, // bytes that are enough for all doorbells
  alignment: u64,
});
