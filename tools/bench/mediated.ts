/**
 * Bench of the service for mediated devices through the socket of a real host process: accesses,
 * pins, and the time until a sleeper is awake.
 */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Worker } from 'node:worker_threads';
import { VFIO_DMA_MAP_FLAG_VADDR } from '../../iommu/abi/vfio.ts';
import { close } from '../../platform/libc/fd.ts';
import { createMemory, Mapping } from '../../platform/memory.ts';
import { PAGE_SIZE } from '../../platform/page.ts';
import { startWorker } from '../../platform/thread.ts';
import { getApiVersion, openContainer } from '../../vmm/client/container.ts';
import { type DmaMapping, invalidateVaddrs, mapDma } from '../../vmm/client/dma.ts';
import { kvemuPin, kvemuRead, kvemuUnpin } from '../../vmm/client/drivers/kvemu.ts';
import { DESCRIPTOR_BYTES, encodeJob, Mscribe, readResult, STATUS_DONE } from '../../vmm/client/drivers/mscribe.ts';
import { openDevice } from '../../vmm/client/group.ts';
import { KernelClient } from '../../vmm/client/kernel-client.ts';
import { CommandError } from '../cli/command.ts';
import { HostProcess } from '../launch/host.ts';
import { onBenchHost } from './bench-host.ts';
import { withEcho } from './echo/hand-over.ts';
import { type Figure, median, type Progress } from './result.ts';
import type { SleeperAnswer, SleeperInput, SleeperRequest } from './sleeper/protocol.ts';

const SIZE = 16 * 2 ** 20;
const ROUNDS = 501;
const WARM_UP = 2000;
const WAKES = 31;
/** Time after which a thread that was told to read is asleep in the kernel. */
const ASLEEP_MS = 10;
/** Copies that mscribe makes one after the other, and the times that it does. */
const JOBS = 2048;
const BATCHES = 9;
/** Reads the descriptor and the source, writes the destination and the result. */
const ACCESSES_OF_JOB = 4;
const JOBS_PATIENCE_MS = 30_000;

const nowMs = (): number => Number(process.hrtime.bigint()) / 1e6;

/** Median microseconds, warm. */
function medianUs(run: () => void, rounds = ROUNDS): number {
  for (let i = 0; i < WARM_UP; i++) run();
  return median(
    Array.from({ length: rounds }, () => {
      const start = nowMs();
      run();
      return (nowMs() - start) * 1000;
    }),
  );
}

/**
 * Median microseconds from the call of MAP_DMA(VADDR) until the thread that slept is back in user
 * space.
 */
async function wakeUs(invalidate: () => void, update: () => void, sleeper: Worker): Promise<number> {
  const latencies: number[] = [];
  const request: SleeperRequest = { iova: 0 };
  for (let i = 0; i < WAKES; i++) {
    invalidate();
    const answered = once(sleeper, 'message');
    sleeper.postMessage(request);
    await sleep(ASLEEP_MS);
    const start = nowMs();
    update();
    const [{ wokenMs }] = (await answered) as [SleeperAnswer];
    latencies.push((wokenMs - start) * 1000);
  }
  return median(latencies);
}

/**
 * Median microseconds of a way to another thread and back, by a thread that has slept for as long
 * as in wakeUs(). A call that does nothing: two of the wake-up's three ways, and no work.
 */
async function afterSleepUs(call: () => void): Promise<number> {
  const latencies: number[] = [];
  for (let i = 0; i < WAKES; i++) {
    await sleep(ASLEEP_MS);
    const start = nowMs();
    call();
    latencies.push((nowMs() - start) * 1000);
  }
  return median(latencies);
}

/**
 * Median microseconds of an access of mscribe, whose worker asks the kernel for each: copies of a
 * page, one after the other. Nobody looks at the device meanwhile.
 */
function mscribeUs(): Promise<number> {
  return onBenchHost({ ramBytes: SIZE, device: 'mscribe' }, async (host) => {
    host.map({ iova: 0, offset: 0, size: SIZE });
    const device = host.openDevice();
    const scribe = new Mscribe({
      read: (offset) => device.readBar(0, offset, 4).lo,
      write: (offset, value) => device.writeBar(0, offset, 4, { lo: value, hi: 0 }),
    });
    const [source, destination] = [SIZE / 2, SIZE / 2 + PAGE_SIZE];
    const job = encodeJob({ operation: 'copy', source, destination, length: PAGE_SIZE });
    const times: number[] = [];
    for (let batch = 0; batch < BATCHES; batch++) {
      const ring = new Uint8Array(host.ram.buffer, 0, JOBS * DESCRIPTOR_BYTES);
      for (let slot = 0; slot < JOBS; slot++) ring.set(job, slot * DESCRIPTOR_BYTES);
      scribe.start(0, JOBS);
      const start = nowMs();
      scribe.submit(JOBS);
      const last = ring.subarray((JOBS - 1) * DESCRIPTOR_BYTES);
      for (; readResult(last).status !== STATUS_DONE; await sleep(1)) {
        if (scribe.hasFailed() || nowMs() > start + JOBS_PATIENCE_MS) throw new CommandError('mscribe does not copy');
      }
      times.push(((nowMs() - start) * 1000) / (JOBS * ACCESSES_OF_JOB));
    }
    return median(times);
  });
}

export async function benchMediated(progress: Progress): Promise<Figure[]> {
  await progress('mscribe copies');
  const access = await mscribeUs();
  await progress('host starts');
  const host = await HostProcess.start(['kvemu'], ['--vfio-profile', '5.12']);
  const fd = createMemory('bench', SIZE);
  const ram = new Mapping(fd, SIZE);
  let sleeper: Worker | undefined;
  try {
    const client = new KernelClient(host.socket);
    const { fd: container, groups } = openContainer(client, [0]);
    const device = openDevice(client, groups[0]!, 'kvemu.0');
    const mapping: DmaMapping = { iova: 0, size: SIZE, vaddr: ram.vaddr };
    mapDma(client, container, mapping);
    const pinAndUnpin = (nrPages: number): void => {
      kvemuPin(client, device, 0, nrPages);
      kvemuUnpin(client, device, 0, nrPages);
    };
    await progress('dma_rw, pin and unpin');
    const rw = medianUs(() => kvemuRead(client, device, PAGE_SIZE, PAGE_SIZE));
    const pinOne = medianUs(() => pinAndUnpin(1));
    const pinMany = medianUs(() => pinAndUnpin(512));
    await progress('a blocked access wakes');
    const input: SleeperInput = { socketPath: host.socket, device };
    sleeper = startWorker('tools/bench/sleeper/worker', input, { name: 'sleeper' });
    const update = { ...mapping, flags: VFIO_DMA_MAP_FLAG_VADDR };
    const wake = await wakeUs(
      () => invalidateVaddrs(client, container),
      () => mapDma(client, container, update),
      sleeper,
    );
    const call = await afterSleepUs(() => getApiVersion(client, container));
    const threads = await withEcho(false, afterSleepUs);
    return [
      { what: 'an access of mscribe, in copies of 4 KiB', value: access, unit: 'µs', atMost: 15 },
      { what: 'dma_rw of 4 KiB', value: rw, unit: 'µs', atMost: 15 },
      { what: 'pin + unpin of 1 page, two calls', value: pinOne, unit: 'µs' },
      { what: 'pin + unpin of 512 pages, two calls', value: pinMany, unit: 'µs' },
      { what: 'floor: a call that does nothing, after 10 ms without one', value: call, unit: 'µs' },
      { what: 'floor: two threads that sleep, after 10 ms without one', value: threads, unit: 'µs' },
      { what: 'MAP VADDR until a blocked access is back', value: wake, unit: 'µs', atMost: 100 },
    ];
  } finally {
    await sleeper?.terminate();
    ram.release();
    await host.stop();
    close(fd);
  }
}
