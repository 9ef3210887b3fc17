/**
 * Bench of a stock Linux of 2 GiB that sits at its shell: its CPU time, with one hart and with two,
 * and the pause of its updates beside a toy guest's of the same size.
 */
import { setTimeout as sleep } from 'node:timers/promises';

import { liveUpdate } from '../clients/live-update.ts';
import { Machine, type VmmOptions } from '../launch/machine.ts';
import { busyGuest } from './busy-guest.ts';
import { shareOfCpu } from './cpu-time.ts';
import type { LinuxGuest } from './linux-guest.ts';
import { type Figure, median, type Progress } from './result.ts';

const MEMORY = '2G';
/**
 * After this Linux has done what follows a boot, and most of the code that it runs now and then is
 * translated.
 */
const SETTLE_MS = 15_000;
const ROUNDS = 9;
/** From the end of a pause until threads and caches are as before it. */
const BETWEEN_MS = 500;

export async function benchLinuxAtRest(
  { kernel, options }: LinuxGuest,
  folder: string,
  progress: Progress,
): Promise<Figure[]> {
  const machines: Machine[] = [];
  const start = async (vmm: Omit<VmmOptions, 'memory'>): Promise<Machine> => {
    const machine = await Machine.start({ devices: [], memory: MEMORY, ...vmm });
    machines.push(machine);
    return machine;
  };
  try {
    await progress('Linux comes to rest');
    const machine = ['-machine', 'virt,aia=none', ...options];
    const linux = await start({ kernel, vmmOptions: machine });
    const onTwo = await start({ kernel, vmmOptions: [...machine, '-smp', '2'] });
    const toy = await start({ kernel: busyGuest(folder, 'sleeping') });
    await sleep(SETTLE_MS);
    const share = await shareOfCpu([linux.vmm.pid], 'Linux at its shell', progress);
    const shareOnTwo = await shareOfCpu([onTwo.vmm.pid], 'Linux at its shell on two harts', progress);
    machines.splice(machines.indexOf(onTwo), 1);
    await onTwo.stop(); // it takes nothing of the time of the pauses
    const pauses: { readonly linux: number; readonly toy: number }[] = [];
    for (let round = 1; round <= ROUNDS; round++) {
      await progress(`updates of Linux and of a toy guest: ${round} of ${ROUNDS}`);
      const pauseOf = async ({ qmp }: Machine): Promise<number> => {
        const { pauseMs } = await liveUpdate(qmp, { probationMs: 0 });
        await sleep(BETWEEN_MS);
        return pauseMs;
      };
      pauses.push({ toy: await pauseOf(toy), linux: await pauseOf(linux) });
    }
    return [
      { what: 'linux: CPU of a guest at its shell', value: share, unit: '% of one', atMost: 2 },
      { what: 'linux: CPU of a guest at its shell on two harts', value: shareOnTwo, unit: '% of one', atMost: 2 },
      { what: `linux: update pause, ${MEMORY}`, value: median(pauses.map((pause) => pause.linux)), unit: 'ms' },
      {
        what: 'linux: update pause / that of a toy guest',
        value: median(pauses.map((pause) => pause.linux / pause.toy)),
        unit: '×',
        atMost: 1.1,
      },
    ];
  } finally {
    for (const machine of machines) await machine.stop();
  }
}
