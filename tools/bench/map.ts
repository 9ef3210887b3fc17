/** MAP_DMA and UNMAP_DMA of a memfd through the socket of a real host process. */
import { PAGE_SIZE } from '../../platform/page.ts';
import { type BenchHost, onBenchHost } from './bench-host.ts';
import { type Figure, median, type Progress } from './result.ts';

const MiB = 2 ** 20;
const GiB = 2 ** 30;
const ROUNDS = 21;
const SLOW_ROUNDS = 5;
const PAIRS = 2000;
/** Iova of the pairs, above all else and below the end of a 39-bit aperture. */
const PAIR_IOVA = 256 * GiB;

/** Median microseconds of a map and unmap of `size` bytes. */
function roundTripUs(host: BenchHost, size: number, rounds = ROUNDS): number {
  return median(
    Array.from({ length: rounds }, () => {
      const start = performance.now();
      host.map({ iova: 2 * GiB, offset: 0, size });
      host.unmap(2 * GiB, size);
      return (performance.now() - start) * 1000;
    }),
  );
}

/** 4 KiB map and unmap pairs per second. */
function pairsPerSecond(host: BenchHost): number {
  const start = performance.now();
  for (let pair = 0; pair < PAIRS; pair++) {
    host.map({ iova: PAIR_IOVA, offset: 0, size: PAGE_SIZE });
    host.unmap(PAIR_IOVA, PAGE_SIZE);
  }
  return (PAIRS * 1000) / (performance.now() - start);
}

/** Milliseconds to map 1 GiB behind an IOMMU whose largest page is `maxPage`. */
function mapGiBMs(maxPage: string): Promise<number> {
  const options = ['--iommu', `iommu0,max-pgsize=${maxPage}`];
  return onBenchHost({ ramBytes: GiB, options }, (host) => {
    const times = Array.from({ length: SLOW_ROUNDS }, () => {
      const start = performance.now();
      host.map({ iova: 0, offset: 0, size: GiB });
      const ms = performance.now() - start;
      host.unmap(0, GiB);
      return ms;
    });
    return median(times);
  });
}

export async function benchMap(progress: Progress): Promise<Figure[]> {
  await progress('starting a host');
  const figures = await onBenchHost({ ramBytes: GiB }, async (host) => {
    // As under a VMM: some of the object stays mapped all the time, so the board knows it.
    host.map({ iova: 0, offset: 0, size: PAGE_SIZE });
    await progress('2 MiB, 64 MiB, 1 GiB');
    pairsPerSecond(host); // both sides are compiled by then
    const [small, medium, large] = [2 * MiB, 64 * MiB, GiB].map((size) => roundTripUs(host, size)) as [
      number,
      number,
      number,
    ];
    const rates: number[] = [];
    let present = 1;
    for (const wanted of [1, 1000, 60_000]) {
      await progress(`4 KiB pairs beside ${wanted} mappings`);
      for (; present < wanted; present++) {
        host.map({ iova: present * 2 * PAGE_SIZE, offset: present * PAGE_SIZE, size: PAGE_SIZE });
      }
      rates.push(pairsPerSecond(host));
    }
    return [
      { what: 'MAP_DMA + UNMAP_DMA, 2 MiB', value: small, unit: 'µs' },
      { what: 'MAP_DMA + UNMAP_DMA, 64 MiB', value: medium, unit: 'µs' },
      { what: 'MAP_DMA + UNMAP_DMA, 1 GiB', value: large, unit: 'µs' },
      { what: 'MAP_DMA + UNMAP_DMA, 1 GiB / 2 MiB', value: large / small, unit: '×' },
      { what: '4 KiB map + unmap, no other mapping', value: rates[0]!, unit: 'pairs/s' },
      { what: '4 KiB map + unmap, 1000 mappings', value: rates[1]!, unit: 'pairs/s' },
      { what: '4 KiB map + unmap, 60000 mappings', value: rates[2]!, unit: 'pairs/s' },
      { what: '4 KiB map + unmap, 60000 / no other', value: rates[2]! / rates[0]!, unit: '×' },
    ];
  });
  await progress('1 GiB in 4 KiB pages');
  return [...figures, { what: 'MAP_DMA of 1 GiB in 4 KiB pages only', value: await mapGiBMs('4K'), unit: 'ms' }];
}
