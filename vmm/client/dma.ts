/**
 * MAP_DMA, UNMAP_DMA and dirty tracking of a container's type1 IOMMU. Each function makes one
 * ioctl, which returns or throws the errno of the kernel (SysError). Sizes are in bytes, ranges are
 * [iova, iova+size), vaddrs are those of the calling process.
 */

import { VFIO_DMA_MAP_FLAG_RESERVED_MSI } from '../../iommu/abi/reserved-msi.ts';
import {
  Bitmap,
  DirtyBitmap,
  DirtyBitmapGet,
  DmaMap,
  DmaUnmap,
  VFIO_DMA_MAP_FLAG_READ,
  VFIO_DMA_MAP_FLAG_WRITE,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP,
  VFIO_DMA_UNMAP_FLAG_VADDR,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
} from '../../iommu/abi/vfio.ts';
import { MAX_BATCH } from '../../iommu/abi/wire.ts';
import { vaddrOf } from '../../platform/libc/mmap.ts';
import { PAGE_SIZE } from '../../platform/page.ts';
import { viewOf } from '../../platform/struct.ts';
import type { KernelClient } from './kernel-client.ts';
import type { FileCalls, Posted } from './task-channel.ts';

export const READ_WRITE = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;

export interface DmaMapping {
  readonly iova: number | bigint;
  readonly size: number | bigint;
  readonly vaddr: number | bigint;
  /**
   * VFIO_DMA_MAP_FLAG_*; READ_WRITE by default. VADDR alone gives this vaddr to a mapping whose
   * vaddr is invalid.
   */
  readonly flags?: number;
}

/** The part of iova space that is unmapped, or asked about. */
export interface DmaSpan {
  readonly iova: number | bigint;
  readonly size: number | bigint;
}

/**
 * Memory where the kernel puts one bit for each page of 4 KiB. The memory does not move; its size
 * is a multiple of 8 bytes.
 */
export type DirtyBits = Uint8Array<SharedArrayBuffer>;

/** struct vfio_iommu_type1_dma_map */
export function dmaMapArg(mapping: DmaMapping): Uint8Array {
  return DmaMap.bytes(dmaMapFields(mapping));
}

const dmaMapFields = ({ iova, size, vaddr, flags = READ_WRITE }: DmaMapping): Parameters<typeof DmaMap.bytes>[0] => {
  return { argsz: DmaMap.size, flags, vaddr: BigInt(vaddr), iova: BigInt(iova), size: BigInt(size) };
};

/**
 * MAP_DMA with RESERVED_MSI: donates a window of iovas for MSIs. EINVAL: no window is needed, or
 * there is one already; EEXIST: the window overlaps a mapping.
 */
export function donateMsiWindow(calls: FileCalls, container: number, span: DmaSpan): void {
  mapDma(calls, container, { ...span, vaddr: 0, flags: VFIO_DMA_MAP_FLAG_RESERVED_MSI });
}

/** struct vfio_iommu_type1_dma_unmap, without a bitmap. */
export function dmaUnmapArg(span: DmaSpan, flags = 0): Uint8Array {
  return DmaUnmap.bytes(dmaUnmapFields(span, flags));
}

const dmaUnmapFields = ({ iova, size }: DmaSpan, flags: number): Parameters<typeof DmaUnmap.bytes>[0] => {
  return { argsz: DmaUnmap.size, flags, iova: BigInt(iova), size: BigInt(size) };
};

/** The arguments of mapDma and unmapDma, one for the thread: a fresh one costs 0.7 to 1.3 µs. */
const mapArg = new Uint8Array(DmaMap.size);
const unmapArg = new Uint8Array(DmaUnmap.size);

/** VFIO_IOMMU_MAP_DMA. EEXIST, EINVAL, EFAULT, ENOMEM, ENOSPC: docs/rules/vfio.md, MAP. */
export function mapDma(calls: FileCalls, container: number, mapping: DmaMapping): void {
  DmaMap.write(viewOf(mapArg), dmaMapFields(mapping));
  calls.ioctl(container, VFIO_IOMMU_MAP_DMA, mapArg);
}

/**
 * VFIO_IOMMU_MAP_DMA of each mapping, in order, in few requests. Throws the errno of the first that
 * fails; the mappings before it stay mapped.
 */
export function mapDmas(calls: FileCalls, container: number, mappings: readonly DmaMapping[]): void {
  calls.ioctls(container, VFIO_IOMMU_MAP_DMA, dmaMapArgs(mappings), DmaMap.size);
}

/** As mapDmas, while the caller does something else; the last mappings where they are very many. */
export function beginMapDmas(
  calls: Pick<KernelClient, 'ioctls' | 'postAll'>,
  container: number,
  mappings: readonly DmaMapping[],
): Posted {
  const args = dmaMapArgs(mappings);
  const before = args.length - (mappings.length % MAX_BATCH) * DmaMap.size;
  if (before > 0) calls.ioctls(container, VFIO_IOMMU_MAP_DMA, args.subarray(0, before), DmaMap.size);
  if (before === args.length) return () => 0;
  return calls.postAll(container, VFIO_IOMMU_MAP_DMA, args.subarray(before), DmaMap.size);
}

function dmaMapArgs(mappings: readonly DmaMapping[]): Uint8Array {
  const args = new Uint8Array(mappings.length * DmaMap.size);
  const view = viewOf(args);
  for (let i = 0; i < mappings.length; i++) DmaMap.write(view, dmaMapFields(mappings[i]!), i * DmaMap.size);
  return args;
}

/**
 * VFIO_IOMMU_UNMAP_DMA with VFIO_DMA_UNMAP_FLAG_* `flags`. Returns how many bytes were unmapped.
 * EINVAL: the span would cut a mapping.
 */
export function unmapDma(calls: FileCalls, container: number, span: DmaSpan, flags = 0): number {
  DmaUnmap.write(viewOf(unmapArg), dmaUnmapFields(span, flags));
  calls.ioctl(container, VFIO_IOMMU_UNMAP_DMA, unmapArg);
  return unmappedBytes(unmapArg);
}

/**
 * VFIO_IOMMU_UNMAP_DMA that also tells which pages were dirty. Returns how many bytes were
 * unmapped.
 */
export function unmapDmaDirty(calls: FileCalls, container: number, { iova, size }: DmaSpan, bits: DirtyBits): number {
  const argsz = DmaUnmap.size + Bitmap.size;
  const flags = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
  const arg = DmaUnmap.bytes({ argsz, flags, iova: BigInt(iova), size: BigInt(size) }, argsz);
  const bitmap = { pgsize: BigInt(PAGE_SIZE), size: BigInt(bits.length), data: BigInt(vaddrOf(bits)) };
  Bitmap.write(viewOf(arg), bitmap, DmaUnmap.size);
  calls.ioctl(container, VFIO_IOMMU_UNMAP_DMA, arg);
  return unmappedBytes(arg);
}

/**
 * UNMAP_DMA(ALL). Returns how many bytes were unmapped. EINVAL: the kernel is older than
 * VFIO_UNMAP_ALL.
 */
export function unmapAllDma(calls: FileCalls, container: number): number {
  return unmapDma(calls, container, { iova: 0, size: 0 }, VFIO_DMA_UNMAP_FLAG_ALL);
}

/**
 * UNMAP_DMA(VADDR|ALL): every vaddr becomes invalid, translations stay (UNM-10). Each mapping then
 * waits for MAP_DMA(VADDR). Returns how many bytes became so. EINVAL: a vaddr is invalid already.
 * EBUSY: a mediated device is in the container (6.3 and later).
 */
export function invalidateVaddrs(calls: FileCalls, container: number): number {
  return unmapDma(calls, container, { iova: 0, size: 0 }, VFIO_DMA_UNMAP_FLAG_VADDR | VFIO_DMA_UNMAP_FLAG_ALL);
}

/** As invalidateVaddrs, while the caller does something else. */
export function beginInvalidateVaddrs(calls: Pick<KernelClient, 'post'>, container: number): Posted {
  const arg = dmaUnmapArg({ iova: 0, size: 0 }, VFIO_DMA_UNMAP_FLAG_VADDR | VFIO_DMA_UNMAP_FLAG_ALL);
  const ended = calls.post(container, VFIO_IOMMU_UNMAP_DMA, arg);
  return () => {
    ended();
    return unmappedBytes(arg);
  };
}

const unmappedBytes = (arg: Uint8Array): number => Number(DmaUnmap.read(viewOf(arg)).size);

/** VFIO_IOMMU_DIRTY_PAGES(START): tracks from now on. EACCES: the container is not of type1v2. */
export function startDirtyTracking(calls: FileCalls, container: number): void {
  dirtyPages(calls, container, VFIO_IOMMU_DIRTY_PAGES_FLAG_START);
}

/** VFIO_IOMMU_DIRTY_PAGES(STOP) */
export function stopDirtyTracking(calls: FileCalls, container: number): void {
  dirtyPages(calls, container, VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP);
}

function dirtyPages(calls: FileCalls, container: number, flags: number): void {
  calls.ioctl(container, VFIO_IOMMU_DIRTY_PAGES, DirtyBitmap.bytes({ argsz: DirtyBitmap.size, flags }));
}

/**
 * VFIO_IOMMU_DIRTY_PAGES(GET_BITMAP): bit i of `bits` is the page at iova + 4096 i. EINVAL:
 * tracking is off.
 */
export function getDirtyBitmap(calls: FileCalls, container: number, { iova, size }: DmaSpan, bits: DirtyBits): void {
  const argsz = DirtyBitmap.size + DirtyBitmapGet.size;
  const arg = DirtyBitmap.bytes({ argsz, flags: VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP }, argsz);
  const range = {
    iova: BigInt(iova),
    size: BigInt(size),
    'bitmap.pgsize': BigInt(PAGE_SIZE),
    'bitmap.size': BigInt(bits.length),
    'bitmap.data': BigInt(vaddrOf(bits)),
  };
  DirtyBitmapGet.write(viewOf(arg), range, DirtyBitmap.size);
  calls.ioctl(container, VFIO_IOMMU_DIRTY_PAGES, arg);
}
