/**
 * The uapi of page tables that outlive the kernel (PKF-2, PKF-3): an RFC of February 2024 that was
 * not merged. The numbers are the RFC's (NUM-1).
 */
import { defineStruct, u32 } from '../../platform/struct.ts';

/** On a container: gives it the file of its domain's page tables. Before SET_IOMMU. */
export const VFIO_CONTAINER_SET_PERSISTENT_PGTABLES = 0x3b79;

/**
 * On a container that has such a file: gives it a file of its mappings, too, which the next kernel
 * finds. Before SET_IOMMU. It is ours: the RFC's author wished for it.
 */
export const VFIO_CONTAINER_SET_PERSISTENT_ENTRIES = 0x3b7a;

/** The argument of both. */
export const SetPersistentPgtables = defineStruct('vfio_set_persistent_pgtables', { persistent_pgtables_fd: u32 });

/** MAP_DMA: the translations are in the persistent tables already, and none is written. */
export const VFIO_DMA_MAP_FLAG_LIVE_UPDATE = 1 << 3;
