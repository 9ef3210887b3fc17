/** Board memory that outlives the kernel: what pkernfs lies in. */
import type { KernelWorkerData } from '../../iommu/kernel/board/protocol.ts';
import { einval } from '../../platform/errno.ts';
import type { MemoryMap } from './memory-map.ts';

/** A page table file has a block of 2 MiB; all together may have these. */
const PKERNFS_KERNEL_BYTES = 32 * 2 ** 20;
const PKERNFS_BLOCK_BYTES = 2 * 2 ** 20;
const MAX_PKERNFS_BYTES = 8 * 2 ** 30;

/** Takes `bytes` of the board's memory for pkernfs; 0: none. EINVAL: too little or too much. */
export function reserve(memory: MemoryMap, bytes = 0): KernelWorkerData['reserved'] {
  if (bytes === 0) return undefined;
  if (bytes <= PKERNFS_KERNEL_BYTES || bytes > MAX_PKERNFS_BYTES || bytes % PKERNFS_BLOCK_BYTES !== 0) {
    throw einval('pkernfs: give more than 32M and at most 8G, in steps of 2M');
  }
  return memory.addReserved(bytes, PKERNFS_KERNEL_BYTES);
}
