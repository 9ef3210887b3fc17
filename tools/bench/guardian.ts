/**
 * Bench of `--guardian always`: what it costs a guest that never sleeps that its state is published
 * all the time, and how long the guest stands when its VMM is killed.
 */
import { setTimeout as sleep } from 'node:timers/promises';

import { monotonicNs } from '../../platform/clock.ts';
import { standingGuardian } from '../clients/guardians.ts';
import { Machine } from '../launch/machine.ts';
import { PrivateFolder } from '../launch/private-folder.ts';
import { guestPath } from '../launch/programs.ts';
import { busyGuest, rateDuring } from './busy-guest.ts';
import { type Figure, median, type Progress } from './result.ts';

const ROUNDS = 7;
const WINDOW_MS = 500;
const KILLS = 4; // a fifth one within a minute would be the last
const TIMEOUT_MS = 30_000;
const GUARDED = ['--guardian', 'always'];

/** The speed of a guest with a guardian / without, of the same moment. */
async function speed(kernel: string, progress: Progress): Promise<number> {
  const machines: Machine[] = [];
  try {
    for (const vmmOptions of [GUARDED, []]) {
      machines.push(await Machine.start({ devices: [], memory: '64M', kernel, vmmOptions }));
    }
    const [guarded, alone] = machines as [Machine, Machine];
    await standingGuardian(guarded.qmp, TIMEOUT_MS);
    const ratios: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      await progress(`a busy guest with and without a guardian, ${round + 1} of ${ROUNDS}`);
      const perMs = async (runs: Machine, waits: Machine): Promise<number> => {
        await waits.qmp.execute('stop');
        await runs.qmp.execute('cont');
        return (await rateDuring(runs.qmp, () => sleep(WINDOW_MS))).perMs;
      };
      const without = await perMs(alone, guarded);
      ratios.push((await perMs(guarded, alone)) / without);
    }
    return median(ratios);
  } finally {
    for (const machine of machines) await machine.stop();
  }
}

/** From the kill of a VMM to the guest's next instruction. */
async function takeoversMs(progress: Progress): Promise<number[]> {
  const machine = await Machine.start({
    devices: ['edu,dma-latency-ms=0,dma-mask=0xffffffffffffffff', 'capture'],
    memory: '64M',
    kernel: guestPath('demo'),
    hostOptions: ['--vfio-profile', '6.12'], // lets the process that takes over be taken over, too
    vmmOptions: GUARDED,
  });
  try {
    const { qmp } = machine;
    const times: number[] = [];
    for (let kill = 0; kill < KILLS; kill++) {
      await progress(`kill ${kill + 1} of ${KILLS}`);
      await standingGuardian(machine.qmp, TIMEOUT_MS);
      await sleep(WINDOW_MS);
      const taken = qmp.nextEvent(({ event }) => event === 'TAKEOVER', TIMEOUT_MS);
      const killedNs = monotonicNs();
      process.kill(machine.vmm.pid, 'SIGKILL'); // Child.kill would kill the next one, too
      const { data } = await taken;
      times.push((Number(data.runningNs) - killedNs) / 1e6);
    }
    return times;
  } finally {
    await machine.stop();
  }
}

export async function benchGuardian(progress: Progress): Promise<Figure[]> {
  const folder = new PrivateFolder();
  try {
    const counting = await speed(busyGuest(folder.path), progress);
    const storing = await speed(busyGuest(folder.path, 'storing'), progress);
    const wide = await speed(busyGuest(folder.path, 'wide'), progress);
    const taken = median(await takeoversMs(progress));
    return [
      { what: 'from the kill of a VMM to the next guest instruction', value: taken, unit: 'ms', atMost: 200 },
      { what: 'speed of a guest that computes, with a guardian always / without', value: counting, unit: '×' },
      { what: 'speed of a guest that does both, with a guardian always / without', value: wide, unit: '×' },
      { what: 'speed of a guest that stores, with a guardian always / without', value: storing, unit: '×' },
    ];
  } finally {
    await folder.remove();
  }
}
