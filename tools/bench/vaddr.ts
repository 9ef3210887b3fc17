/**
 * Bench of the calls that an update makes for each mapping of the VMM: UNMAP_DMA(VADDR|ALL), then
 * MAP_DMA(VADDR) (UNM-10, MAP-6).
 */
import { VFIO_DMA_MAP_FLAG_VADDR } from '../../iommu/abi/vfio.ts';
import { PAGE_SIZE } from '../../platform/page.ts';
import { type DmaMapping, invalidateVaddrs, mapDma, mapDmas } from '../../vmm/client/dma.ts';
import { type BenchHost, onBenchHost, type RamRange } from './bench-host.ts';
import { type Figure, median, type Progress } from './result.ts';

const COUNTS = [1, 1000, 60_000];
const MOST = 60_000;
const ROUNDS = 5;
/** Number of calls after which both sides are compiled. */
const WARM_UP = 3000;

interface Costs {
  readonly invalidateUs: number;
  /** One call for each entry. */
  readonly singlyUs: number;
  /** Few requests for all entries, as a VMM makes them. */
  readonly batchedUs: number;
}

function timeUs(run: () => void): number {
  const start = performance.now();
  run();
  return (performance.now() - start) * 1000;
}

/** Medians; the entries of `ranges` are all that the container has. */
function measure(host: BenchHost, ranges: readonly RamRange[]): Costs {
  const { client, container } = host;
  const flags = VFIO_DMA_MAP_FLAG_VADDR;
  const updates = (): DmaMapping[] =>
    ranges.map(({ iova, offset, size }) => ({ iova, size, vaddr: host.ram.vaddr + offset, flags }));
  const rounds = Array.from({ length: ROUNDS }, (): Costs => {
    const invalidateUs = timeUs(() => invalidateVaddrs(client, container));
    const batchedUs = timeUs(() => mapDmas(client, container, updates()));
    invalidateVaddrs(client, container);
    const singlyUs = timeUs(() => {
      for (const update of updates()) mapDma(client, container, update);
    });
    return { invalidateUs, batchedUs, singlyUs };
  });
  const middle = (of: keyof Costs): number => median(rounds.map((round) => round[of]));
  return { invalidateUs: middle('invalidateUs'), batchedUs: middle('batchedUs'), singlyUs: middle('singlyUs') };
}

function figures(count: number, { invalidateUs, singlyUs, batchedUs }: Costs): Figure[] {
  const entries = count === 1 ? '1 entry' : `${count} entries`;
  const promise = count === 1 ? {} : { atMost: 30 }; // one entry costs a round trip
  return [
    { what: `UNMAP VADDR|ALL, ${entries}`, value: invalidateUs, unit: 'µs' },
    { what: `MAP VADDR, ${entries}, a call for each`, value: singlyUs / count, unit: 'µs/entry' },
    { what: `MAP VADDR, ${entries}, batched`, value: batchedUs / count, unit: 'µs/entry', ...promise },
  ];
}

export async function benchVaddr(progress: Progress): Promise<Figure[]> {
  await progress('host starts');
  return onBenchHost({ ramBytes: MOST * PAGE_SIZE }, async (host) => {
    await progress('both sides warm up');
    for (let call = 0; call < WARM_UP; call++) {
      host.map({ iova: 0, offset: 0, size: PAGE_SIZE });
      host.unmap(0, PAGE_SIZE);
    }
    const ranges: RamRange[] = [];
    const results: Figure[] = [];
    let last: Costs | undefined;
    for (const count of COUNTS) {
      await progress(`${count} entries`);
      const more = Array.from({ length: count - ranges.length }, (_, i) => {
        const offset = (ranges.length + i) * PAGE_SIZE;
        return { iova: 2 * offset, offset, size: PAGE_SIZE };
      });
      mapDmas(
        host.client,
        host.container,
        more.map((range) => host.mappingOf(range)),
      );
      ranges.push(...more);
      last = measure(host, ranges);
      results.push(...figures(count, last));
    }
    const wholeMs = (last!.invalidateUs + last!.batchedUs) / 1000;
    results.push({
      what: `UNMAP VADDR|ALL and MAP VADDR, ${MOST} entries, batched`,
      value: wholeMs,
      unit: 'ms',
      atMost: 500,
    });
    return results;
  });
}
