/**
 * Bench of calls into the emulated kernel, beside what two threads of this machine can do: one
 * word handed over and back by threads that spin, and by threads that sleep.
 */
import { PAGE_SIZE } from '../../platform/page.ts';
import { getApiVersion } from '../../vmm/client/container.ts';
import { onBenchHost } from './bench-host.ts';
import { withEcho } from './echo/hand-over.ts';
import { type Figure, median, type Progress } from './result.ts';

/** The register of edu that gives back the complement of what was written. */
const LIVENESS = 4;
const WARM_UP = 3000;
const ROUNDS = 3001;

/** Microseconds of each round, sorted. */
function times(run: () => void): number[] {
  for (let i = 0; i < WARM_UP; i++) run();
  return Array.from({ length: ROUNDS }, () => {
    const start = performance.now();
    run();
    return (performance.now() - start) * 1000;
  }).toSorted((a, b) => a - b);
}

const figures = (what: string, sorted: readonly number[], atMost?: number): Figure[] => [
  { what: `${what}, median`, value: median(sorted), unit: 'µs', ...(atMost === undefined ? {} : { atMost }) },
  { what: `${what}, 99 %`, value: sorted[Math.floor(0.99 * sorted.length)]!, unit: 'µs' },
];

export async function benchCalls(progress: Progress): Promise<Figure[]> {
  await progress('floors');
  const spinning = await withEcho(true, times);
  const sleeping = await withEcho(false, times);
  await progress('a host starts');
  const rows = await onBenchHost({ ramBytes: PAGE_SIZE }, async (host) => {
    const { client, container } = host;
    await progress('calls');
    const nothing = times(() => getApiVersion(client, container));
    host.map({ iova: 0, offset: 0, size: PAGE_SIZE }); // the board knows the object, as under a VMM
    const pairs = times(() => {
      host.map({ iova: PAGE_SIZE, offset: 0, size: PAGE_SIZE });
      host.unmap(PAGE_SIZE, PAGE_SIZE);
    });
    const device = host.openDevice();
    const register = new Uint8Array(4);
    const kernels = times(() => client.pread(device.description.fd, 0, register));
    const read = times(() => device.readBar(0, 0, 4));
    const write = times(() => device.writeBar(0, LIVENESS, 4, { lo: 1, hi: 0 }));
    return [
      ...figures('a call that does nothing', nothing, 5),
      ...figures('MAP_DMA and UNMAP_DMA of a page, two calls', pairs, 20),
      ...figures('pread of a register, by the kernel', kernels),
      ...figures('read of a register, by its page', read, 2),
      ...figures('write of a register, by its page', write, 2),
    ];
  });
  return [
    ...figures('floor: two threads that spin', spinning),
    ...figures('floor: two threads that sleep', sleeping),
    ...rows,
  ];
}
