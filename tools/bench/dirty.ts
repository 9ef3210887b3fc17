/** Dirty tracking of RAM of which all is mapped for a device: GET_BITMAP, one bit for 4 KiB (DRT-3). */
import {
  DirtyBitmap,
  DirtyBitmapGet,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
} from '../../iommu/abi/vfio.ts';
import { close } from '../../platform/libc.ts';
import { createMemory, Mapping, PAGE_SIZE } from '../../platform/memory.ts';
import { viewOf } from '../../platform/struct.ts';
import { onBenchHost } from './bench-host.ts';
import { type Figure, median, type Progress } from './result.ts';

const GiB = 2 ** 30;
const RAM = 4 * GiB;
/** Above the reserved MSI window. */
const BASE = 4 * GiB;
const BITMAP_BYTES = RAM / PAGE_SIZE / 8;
const ROUNDS = 31;

const dirtyPages = (flags: number, length = 0): Uint8Array =>
  DirtyBitmap.bytes({ argsz: DirtyBitmap.size + length, flags }, DirtyBitmap.size + length);

/** GET_BITMAP of all RAM into the caller's memory at `data`. */
function getBitmap(data: number): Uint8Array {
  const arg = dirtyPages(VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP, DirtyBitmapGet.size);
  const bitmap = {
    'bitmap.pgsize': BigInt(PAGE_SIZE),
    'bitmap.size': BigInt(BITMAP_BYTES),
    'bitmap.data': BigInt(data),
  };
  DirtyBitmapGet.write(viewOf(arg), { iova: BigInt(BASE), size: BigInt(RAM), ...bitmap }, DirtyBitmap.size);
  return arg;
}

export async function benchDirty(progress: Progress): Promise<Figure[]> {
  await progress('host starts');
  const bitmapFd = createMemory('bitmap', BITMAP_BYTES);
  const bitmap = new Mapping(bitmapFd, BITMAP_BYTES);
  close(bitmapFd);
  const bytes = new Uint8Array(bitmap.buffer, 0, BITMAP_BYTES);
  const timeUs = await onBenchHost({ ramBytes: GiB }, async ({ client, container, mapper }) => {
    for (let at = 0; at < RAM; at += GiB) mapper.map({ iova: BASE + at, offset: 0, size: GiB });
    client.ioctl(container.fd, VFIO_IOMMU_DIRTY_PAGES, dirtyPages(VFIO_IOMMU_DIRTY_PAGES_FLAG_START));
    await progress('GET_BITMAP of 4 GiB');
    const times = Array.from({ length: ROUNDS }, () => {
      bytes.fill(0);
      const start = performance.now();
      client.ioctl(container.fd, VFIO_IOMMU_DIRTY_PAGES, getBitmap(bitmap.vaddr));
      return (performance.now() - start) * 1000;
    });
    return median(times);
  });
  if (!bytes.every((byte) => byte === 0xff)) throw new Error('pages that a device may write are not dirty');
  return [{ what: 'GET_BITMAP of 4 GiB, 128 KiB of bits', value: timeUs, unit: 'µs' }];
}
