/** Bench of the preflight: what it costs a guest that never sleeps. */
import { setTimeout as sleep } from 'node:timers/promises';

import { Machine } from '../launch/machine.ts';
import { PrivateFolder } from '../launch/private-folder.ts';
import { busyGuest, type Rate, rateDuring } from './busy-guest.ts';
import { type Figure, median, type Progress } from './result.ts';

const ROUNDS = 9;
/** As long as a preflight takes. */
const WINDOW_MS = 500;

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
