/**
 * Bench of dirty tracking: GET_BITMAP of RAM that is all mapped for a device, one bit for 4 KiB
 * (DRT-3).
 */
import { close } from '../../platform/libc/fd.ts';
import { createMemory, Mapping } from '../../platform/memory.ts';
import { PAGE_SIZE } from '../../platform/page.ts';
import { getDirtyBitmap, startDirtyTracking } from '../../vmm/client/dma.ts';
import { onBenchHost } from './bench-host.ts';
import { type Figure, median, type Progress } from './result.ts';

const GiB = 2 ** 30;
const RAM = 4 * GiB;
/** Above the reserved MSI window. */
const BASE = 4 * GiB;
const BITMAP_BYTES = RAM / PAGE_SIZE / 8;
const ROUNDS = 31;

export async function benchDirty(progress: Progress): Promise<Figure[]> {
  await progress('host starts');
  const bitmapFd = createMemory('bitmap', BITMAP_BYTES);
  const bitmap = new Mapping(bitmapFd, BITMAP_BYTES);
  close(bitmapFd);
  const bytes = new Uint8Array(bitmap.buffer, 0, BITMAP_BYTES);
  const timeUs = await onBenchHost({ ramBytes: GiB }, async (host) => {
    const { client, container } = host;
    for (let at = 0; at < RAM; at += GiB) host.map({ iova: BASE + at, offset: 0, size: GiB });
    startDirtyTracking(client, container);
    await progress('GET_BITMAP of 4 GiB');
    const times = Array.from({ length: ROUNDS }, () => {
      bytes.fill(0);
      const start = performance.now();
      getDirtyBitmap(client, container, { iova: BASE, size: RAM }, bytes);
      return (performance.now() - start) * 1000;
    });
    return median(times);
  });
  if (!bytes.every((byte) => byte === 0xff)) throw new Error('pages that a device may write are not dirty');
  return [{ what: 'GET_BITMAP of 4 GiB, 128 KiB of bits', value: timeUs, unit: 'µs' }];
}
