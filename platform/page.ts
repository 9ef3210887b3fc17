/** Pages of 4 KiB: what mmap(2), the IOMMU's page tables and VFIO's iovas are counted in. */

export const PAGE_SHIFT = 12;
export const PAGE_SIZE = 4096;

/** How many pages `bytes` take, the last one in part. */
export const pagesFor = (bytes: number): number => Math.ceil(bytes / PAGE_SIZE);

/** `bytes`, rounded up to whole pages. */
export const wholePages = (bytes: number): number => pagesFor(bytes) * PAGE_SIZE;
