/**
 * Private ioctls of a kvemu device fd (kvemu.ts), with the numbers `_IO('k', n)`. VFIO's numbers
 * are `_IO(';', 100 + n)`. A kvemu device answers only one of those, FEATURE, which is the VFIO
 * core's. All structs start with argsz and flags, as VFIO's do; data follows the struct.
 */
import { defineStruct, u32, u64 } from '../../platform/struct.ts';

const KVEMU_TYPE = 'k'.charCodeAt(0);
const kvemuIo = (n: number): number => (KVEMU_TYPE << 8) | n;

/** vfio_pin_pages of `npage` pages from `iova` on. Returns the number of pages, or its errno. */
export const KvemuPin = defineStruct('kvemu_pin', {
  argsz: u32,
  flags: u32,
  iova: u64,
  npage: u32,
  prot: u32, // IOMMU_READ 1, IOMMU_WRITE 2
});
export const KVEMU_PIN = kvemuIo(0);

/**
 * vfio_unpin_pages of a range that KVEMU_PIN has pinned. ENOENT unless it is exactly such a range.
 */
export const KvemuUnpin = defineStruct('kvemu_unpin', { argsz: u32, flags: u32, iova: u64, npage: u32, reserved: u32 });
export const KVEMU_UNPIN = kvemuIo(1);

/**
 * vfio_dma_rw of `size` bytes at `iova`. The data follows the struct: argsz ≥ 24 + size. A read
 * stores the data there. Returns 0.
 */
export const KvemuRw = defineStruct('kvemu_rw', { argsz: u32, flags: u32, iova: u64, size: u64 });
export const KVEMU_RW_FLAG_WRITE = 1 << 0;
export const KVEMU_RW = kvemuIo(2);

/**
 * Takes the log of the dma_unmap callbacks since the last call. The log follows the struct: ASCII
 * `cb:IOVA+LEN;` (hexadecimal) for each callback, `length` bytes in all. When argsz has no room for
 * it the call fails with ENOSPC, `length` says the length needed, and the log stays. Returns 0.
 */
export const KvemuLog = defineStruct('kvemu_log', { argsz: u32, flags: u32, length: u32, reserved: u32 });
export const KVEMU_LOG = kvemuIo(3);
