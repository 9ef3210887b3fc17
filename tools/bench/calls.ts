/**
 * Bench of calls into the emulated kernel, beside what two threads of this machine can do: one
 * word handed over and back by threads that spin, and by threads that sleep.
 */
import { once } from 'node:events';
import { PAGE_SIZE } from '../../platform/page.ts';
import { startWorker } from '../../platform/thread.ts';
import { getApiVersion } from '../../vmm/client/container.ts';
import { onBenchHost } from './bench-host.ts';
import { type EchoInput, EchoWords, MOST_SPINS } from './echo/protocol.ts';
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

/** Hands a number to another thread and back: by spinning, or by Atomics.wait and notify. */
async function floor(spins: boolean): Promise<number[]> {
  const input: EchoInput = { words: new SharedArrayBuffer(EchoWords.size), spins };
  const worker = startWorker('tools/bench/echo/worker', input, { name: 'echo' });
  try {
    await once(worker, 'message');
    const words = new Int32Array(input.words);
    const { question, answer } = EchoWords.word;
    let number = 0;
    return times(() => {
      Atomics.store(words, question, ++number); // pairs with the load in echo/worker.ts
      if (spins) for (let look = 0; look < MOST_SPINS && Atomics.load(words, answer) !== number; look++);
      else {
        Atomics.notify(words, question);
        Atomics.wait(words, answer, number - 1, 1000); // woken by echo/worker.ts
      }
    });
  } finally {
    await worker.terminate();
  }
}

export async function benchCalls(progress: Progress): Promise<Figure[]> {
  await progress('floors');
  const spinning = await floor(true);
  const sleeping = await floor(false);
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
