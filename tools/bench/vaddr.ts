/** What an update asks of the kernel for each mapping of the VMM: UNMAP_DMA(VADDR|ALL), then MAP_DMA(VADDR) (UNM-10, MAP-6). */
import { type Mapping, PAGE_SIZE } from '../../platform/memory.ts';
import { Container, type DmaRange } from '../../vmm/client/container.ts';
import { onBenchHost } from './bench-host.ts';
import type { Mapper } from './mapper.ts';
import { type Figure, median, type Progress } from './result.ts';

const COUNTS = [1, 1000, 60_000];
const MOST = 60_000;
const ROUNDS = 5;
/** Calls after which both sides are compiled. */
const WARM_UP = 3000;

interface Costs {
  readonly invalidateUs: number;
  /** One call for each entry. */
  readonly singlyUs: number;
  /** Container.updateVaddrs. */
  readonly batchedUs: number;
}

function timeUs(run: () => void): number {
  const start = performance.now();
  run();
  return (performance.now() - start) * 1000;
}

/** Medians; the entries of `ranges` are all that `container` has. */
function measure(container: Container, mapper: Mapper, ranges: readonly DmaRange[], ram: Mapping): Costs {
  const rounds = Array.from({ length: ROUNDS }, (): Costs => {
    const invalidateUs = timeUs(() => container.invalidateVaddrs());
    const batchedUs = timeUs(() => container.updateVaddrs(ram.vaddr));
    container.invalidateVaddrs();
    const singlyUs = timeUs(() => {
      for (const range of ranges) mapper.updateVaddr(range);
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
  return onBenchHost({ ramBytes: MOST * PAGE_SIZE }, async ({ client, container: empty, ram, mapper }) => {
    await progress('both sides warm up');
    for (let call = 0; call < WARM_UP; call++) {
      mapper.map({ iova: 0, offset: 0, size: PAGE_SIZE });
      mapper.unmap(0, PAGE_SIZE);
    }
    const ranges: DmaRange[] = [];
    const results: Figure[] = [];
    let last: Costs | undefined;
    for (const count of COUNTS) {
      await progress(`${count} entries`);
      const more = Array.from({ length: count - ranges.length }, (_, i) => {
        const offset = (ranges.length + i) * PAGE_SIZE;
        return { iova: 2 * offset, offset, size: PAGE_SIZE };
      });
      mapper.mapAll(more);
      ranges.push(...more);
      last = measure(new Container(client, { ...empty.save(), ranges }), mapper, ranges, ram);
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
