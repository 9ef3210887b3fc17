/**
 * Bench of live updates: the pause against a bare execve of the same node, by number of devices and
 * RAM size, and the gaps in the devices' DMA.
 */
import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { liveUpdate } from '../clients/live-update.ts';
import type { DeviceFacts } from '../demo/facts.ts';
import { Observer } from '../demo/observer.ts';
import { Machine } from '../launch/machine.ts';
import { guestPath, programPath } from '../launch/programs.ts';
import { type Figure, median, type Progress } from './result.ts';

/** Number of updates: of the machine that is compared with a bare execve, and of the others. */
const UPDATES = 15;
const FEWER_UPDATES = 7;
/** Time between two updates, so that there is a window of DMA without one. */
const BETWEEN_MS = 400;

/** Milliseconds from execve to the first line of the new image. */
function bareExecMs(): number {
  const nanoseconds = execFileSync(process.execPath, [programPath('bare-exec')], { encoding: 'utf8' });
  return Number(nanoseconds) / 1e6;
}

interface Pauses {
  /** A bare execve in the state that an update meets: the guest stands, the devices do not. */
  readonly bareMs: number;
  readonly pauseMs: number;
  /**
   * Of each pause and the bare execve right before it: a busy host changes its speed within
   * seconds.
   */
  readonly ratio: number;
  readonly gapBeforeUs: number;
  readonly gapInPauseUs: number;
}

interface Load {
  readonly captures: number;
  readonly memory: string;
  readonly updates: number;
}

/** Medians over so many updates of a machine under the demo's load. */
async function measure({ captures, memory, updates }: Load, progress: Progress): Promise<Pauses> {
  const machine = await Machine.start({
    devices: ['edu,dma-latency-ms=0,dma-mask=0xffffffffffffffff', ...new Array<string>(captures).fill('capture')],
    memory,
    kernel: guestPath('demo'),
  });
  try {
    const observer = new Observer(machine);
    const counters = observer.counters();
    const bares: number[] = [];
    const pauses: number[] = [];
    const devices: DeviceFacts[] = [];
    for (let done = 0; done < updates; done++) {
      await progress(`${captures} capture devices, ${memory} of RAM: update ${done + 1} of ${updates}`);
      await machine.qmp.execute('stop');
      bares.push(bareExecMs());
      await machine.qmp.execute('cont');
      await sleep(BETWEEN_MS);
      const { pauseMs, pauseStartNs, pauseEndNs } = await liveUpdate(machine.qmp);
      await sleep(pauseMs);
      pauses.push(pauseMs);
      const facts = observer.deviceFacts(pauseStartNs, pauseEndNs, counters, counters);
      devices.push(facts.find(({ name }) => name === 'capture')!);
    }
    return {
      bareMs: median(bares),
      pauseMs: median(pauses),
      ratio: median(pauses.map((pause, i) => pause / bares[i]!)),
      gapBeforeUs: median(devices.map(({ maxGapUsBefore }) => maxGapUsBefore)),
      gapInPauseUs: median(devices.map(({ maxGapUsDuringPause }) => maxGapUsDuringPause)),
    };
  } finally {
    await machine.stop();
  }
}

export async function benchUpdate(progress: Progress): Promise<Figure[]> {
  const small = await measure({ captures: 1, memory: '64M', updates: UPDATES }, progress);
  const manyDevices = await measure({ captures: 8, memory: '64M', updates: FEWER_UPDATES }, progress);
  const muchRam = await measure({ captures: 1, memory: '1G', updates: FEWER_UPDATES }, progress);
  return [
    { what: 'bare execve of node to its first line', value: small.bareMs, unit: 'ms' },
    { what: 'update pause, 1 capture device, 64 MiB', value: small.pauseMs, unit: 'ms' },
    { what: 'update pause / bare execve', value: small.ratio, unit: '×', atMost: 1.5 },
    { what: 'update pause, 8 capture devices, 64 MiB', value: manyDevices.pauseMs, unit: 'ms' },
    { what: 'update pause, 8 devices / 1 device', value: manyDevices.pauseMs / small.pauseMs, unit: '×' },
    { what: 'update pause, 1 capture device, 1 GiB', value: muchRam.pauseMs, unit: 'ms' },
    { what: 'update pause, 1 GiB / 64 MiB', value: muchRam.pauseMs / small.pauseMs, unit: '×' },
    { what: 'largest DMA gap, equal window before', value: small.gapBeforeUs, unit: 'µs' },
    { what: 'largest DMA gap in the pause', value: small.gapInPauseUs, unit: 'µs' },
    { what: 'largest DMA gap, pause / before', value: small.gapInPauseUs / small.gapBeforeUs, unit: '×', atMost: 2 },
  ];
}
