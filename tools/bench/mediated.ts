/** The service for mediated devices through the socket of a real host process: accesses, pins, and how soon a sleeper is awake. */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Worker } from 'node:worker_threads';

import { VFIO_GET_API_VERSION } from '../../iommu/abi/vfio.ts';
import { close } from '../../platform/libc.ts';
import { createMemory, Mapping, PAGE_SIZE } from '../../platform/memory.ts';
import { startWorker } from '../../platform/thread.ts';
import { Container } from '../../vmm/client/container.ts';
import { KernelClient } from '../../vmm/client/kernel-client.ts';
import { startHostProcess } from '../launch/machine.ts';
import { pinAndUnpin, readThroughKvemu } from './kvemu.ts';
import { type Figure, median, type Progress } from './result.ts';
import type { SleeperAnswer, SleeperInput, SleeperRequest } from './sleeper/protocol.ts';

const SIZE = 16 * 2 ** 20;
const ROUNDS = 501;
const WARM_UP = 2000;
const WAKES = 31;
/** By then a thread that was told to read is asleep in the kernel. */
const ASLEEP_MS = 10;

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

/** Median microseconds from the call of MAP_DMA(VADDR) until the thread that slept is back in user space. */
async function wakeUs(container: Container, ram: Mapping, sleeper: Worker): Promise<number> {
  const latencies: number[] = [];
  const request: SleeperRequest = { iova: 0 };
  for (let i = 0; i < WAKES; i++) {
    container.invalidateVaddrs();
    const answered = once(sleeper, 'message');
    sleeper.postMessage(request);
    await sleep(ASLEEP_MS);
    const start = nowMs();
    container.updateVaddrs(ram.vaddr);
    const [{ wokenMs }] = (await answered) as [SleeperAnswer];
    latencies.push((wokenMs - start) * 1000);
  }
  return median(latencies);
}

export async function benchMediated(progress: Progress): Promise<Figure[]> {
  await progress('host starts');
  const host = await startHostProcess(['kvemu'], ['--vfio-profile', '5.12']);
  const fd = createMemory('bench', SIZE);
  const ram = new Mapping(fd, SIZE);
  let sleeper: Worker | undefined;
  try {
    const client = new KernelClient(host.socket);
    const container = new Container(client);
    const device = container.openDevice(container.addGroup(0), 'kvemu.0');
    container.map({ iova: 0, offset: 0, size: SIZE }, ram.vaddr);
    await progress('dma_rw, pin and unpin');
    const call = medianUs(() => client.ioctl(container.fd, VFIO_GET_API_VERSION, 0));
    const rw = medianUs(() => readThroughKvemu(client, device, PAGE_SIZE, PAGE_SIZE));
    const pinOne = medianUs(() => pinAndUnpin(client, device, 0, 1));
    const pinMany = medianUs(() => pinAndUnpin(client, device, 0, 512));
    await progress('a blocked access wakes');
    const input: SleeperInput = { socketPath: host.socket, device };
    sleeper = startWorker('tools/bench/sleeper/worker', input, { name: 'sleeper' });
    const wake = await wakeUs(container, ram, sleeper);
    return [
      { what: 'a call that does nothing', value: call, unit: 'µs' },
      { what: 'dma_rw of 4 KiB', value: rw, unit: 'µs' },
      { what: 'pin + unpin of 1 page, two calls', value: pinOne, unit: 'µs' },
      { what: 'pin + unpin of 512 pages, two calls', value: pinMany, unit: 'µs' },
      { what: 'MAP VADDR until a blocked access is back', value: wake, unit: 'µs' },
    ];
  } finally {
    await sleeper?.terminate();
    ram.release();
    await host.stop();
    close(fd);
  }
}
