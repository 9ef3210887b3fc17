/** Bench of the preflight: what it costs a guest that never sleeps. */
import { setTimeout as sleep } from 'node:timers/promises';

import type { QmpClient } from '../clients/qmp-client.ts';
import { Machine } from '../launch/machine.ts';
import { PrivateFolder } from '../launch/private-folder.ts';
import { busyGuest } from './busy-guest.ts';
import { type Figure, median, type Progress } from './result.ts';

const ROUNDS = 9;
/** As long as a preflight takes. */
const WINDOW_MS = 500;

async function instructions(qmp: QmpClient): Promise<number> {
  const { vcpus } = (await qmp.execute('x-stats')) as { vcpus: readonly { instructions: number }[] };
  return vcpus[0]!.instructions;
}

interface Rate {
  readonly perMs: number;
  readonly tookMs: number;
}

/** Guest instructions per ms while `work` goes on. */
async function rateDuring(qmp: QmpClient, work: () => Promise<unknown>): Promise<Rate> {
  const [begin, before] = [performance.now(), await instructions(qmp)];
  await work();
  const tookMs = performance.now() - begin;
  return { perMs: ((await instructions(qmp)) - before) / tookMs, tookMs };
}

export async function benchPreflight(progress: Progress): Promise<Figure[]> {
  const folder = new PrivateFolder();
  try {
    const machine = await Machine.start({ devices: [], memory: '64M', kernel: busyGuest(folder.path) });
    try {
      const { qmp } = machine;
      const preflight = (): Promise<unknown> => qmp.execute('query-live-update');
      await preflight(); // makes the snapshot
      const alone: number[] = [];
      const beside: Rate[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        await progress(`preflight ${round + 1} of ${ROUNDS}`);
        alone.push((await rateDuring(qmp, () => sleep(WINDOW_MS))).perMs);
        beside.push(await rateDuring(qmp, preflight));
      }
      return [
        { what: 'preflight, snapshot at hand', value: median(beside.map(({ tookMs }) => tookMs)), unit: 'ms' },
        {
          what: 'speed of a busy guest, beside a preflight / alone',
          value: median(beside.map(({ perMs }, i) => perMs / alone[i]!)),
          unit: '×',
          atLeast: 0.98,
        },
      ];
    } finally {
      await machine.stop();
    }
  } finally {
    await folder.remove();
  }
}
