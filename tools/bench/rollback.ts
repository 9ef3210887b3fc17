/**
 * Bench of the way back: from the death of a new image to the guest's next instruction, and what
 * the guardian adds to the pause of an update that goes well.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { monotonicNs } from '../../platform/clock.ts';
import { liveUpdate } from '../clients/live-update.ts';
import { buildIn, PROGRAMS, patch } from '../demo/bad-successors/successors.ts';
import { Machine } from '../launch/machine.ts';
import { PrivateFolder } from '../launch/private-folder.ts';
import { guestPath } from '../launch/programs.ts';
import { type Figure, median, type Progress } from './result.ts';

const ROLLBACKS = 7;
const PAIRS = 7;
const BETWEEN_MS = 400;
const PROBATION_MS = 10_000;
const TIMEOUT_MS = 60_000;

/** Says the time (CLOCK_MONOTONIC) and dies, right before the guest would run. */
const LAST_WORDS =
  'require("node:fs").writeSync(2, "died " + process.hrtime.bigint() + "\\n"); process.kill(process.pid, "SIGKILL");';

/** A copy of the build, with one change. */
function changed(folder: string, from: RegExp, to: string): string {
  mkdirSync(folder);
  const dist = buildIn(folder);
  patch(dist, PROGRAMS, from, to);
  return dist;
}

/** From the death of a new image until a client of the monitor reads that the guest runs. */
async function rollbackMs(machine: Machine, to: string): Promise<number> {
  const { qmp, vmm } = machine;
  const resumed = qmp.nextEvent(({ event }) => event === 'RESUME', TIMEOUT_MS).then(() => monotonicNs());
  const error = await liveUpdate(qmp, { to, probationMs: PROBATION_MS }).then(
    () => new Error('an image that dies has completed an update'),
    (reason: Error) => reason,
  );
  const died = [...vmm.errors.matchAll(/^died (\d+)$/gm)].at(-1);
  if (!died) throw error;
  return ((await resumed) - Number(died[1])) / 1e6;
}

export async function benchRollback(progress: Progress): Promise<Figure[]> {
  const folder = new PrivateFolder();
  try {
    const mortal = changed(join(folder.path, 'mortal'), /(async function goOn\(.*\) \{)/, `$1 ${LAST_WORDS}`);
    // an image that does not know the guardian's words is not guarded
    const unguarded = changed(join(folder.path, 'unguarded'), /standby: STANDBY_PROTOCOL/, 'standby: 0');
    const guarded = changed(join(folder.path, 'guarded'), /standby: STANDBY_PROTOCOL/, 'standby: (STANDBY_PROTOCOL)');
    const machine = await Machine.start({
      devices: ['edu,dma-latency-ms=0,dma-mask=0xffffffffffffffff', 'capture'],
      memory: '64M',
      kernel: guestPath('demo'),
      hostOptions: ['--vfio-profile', '6.12'], // lets the process that takes over be updated, too
      env: { ...process.env, LIVEVMM_CACHE: join(folder.path, 'cache') },
    });
    try {
      const pause = async (to: string): Promise<number> => {
        await sleep(BETWEEN_MS);
        return (await liveUpdate(machine.qmp, { to })).pauseMs;
      };
      const ratios: number[] = [];
      for (let pair = 0; pair < PAIRS; pair++) {
        await progress(`with and without a guardian, ${pair + 1} of ${PAIRS}`);
        const without = await pause(unguarded);
        ratios.push((await pause(guarded)) / without);
      }
      const ways: number[] = [];
      for (let round = 0; round < ROLLBACKS; round++) {
        await progress(`rollback ${round + 1} of ${ROLLBACKS}`);
        ways.push(await rollbackMs(machine, mortal));
        await sleep(BETWEEN_MS);
      }
      return [
        {
          what: 'from the death of a new image to the RESUME of the old one',
          value: median(ways),
          unit: 'ms',
          atMost: 150,
        },
        { what: 'update pause, with a guardian / without', value: median(ratios), unit: '×' },
      ];
    } finally {
      await machine.stop();
    }
  } finally {
    await folder.remove();
  }
}
