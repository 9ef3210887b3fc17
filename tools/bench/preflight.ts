/**
 * Bench of the preflight: what it costs a guest that never sleeps. The floor is what any start of
 * node costs that guest: two CPUs may share a core, and they share caches and memory.
 */
import { setTimeout as sleep } from 'node:timers/promises';

import { runSuccessor } from '../../vmm/live-update/successor-run.ts';
import { Machine } from '../launch/machine.ts';
import { PrivateFolder } from '../launch/private-folder.ts';
import { busyGuest, type Rate, rateDuring } from './busy-guest.ts';
import { type Figure, median, type Progress } from './result.ts';

const ROUNDS = 7;
/** The guest's instructions are counted every 100 ms. */
const WINDOW_MS = 1000;

/** Starts a node that does nothing, as nice as a preflight. */
const startNode = (): Promise<unknown> =>
  runSuccessor(process.execPath, ['--eval', ''], ['ignore', 'ignore', 'ignore']);

/** Does `work` again and again; how often. */
async function again(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  for (let times = 1; ; times++) {
    await work();
    if (performance.now() - begin > WINDOW_MS) return times;
  }
}

export async function benchPreflight(progress: Progress): Promise<Figure[]> {
  const folder = new PrivateFolder();
  try {
    const machine = await Machine.start({ devices: [], memory: '64M', kernel: busyGuest(folder.path) });
    try {
      const { qmp } = machine;
      const preflight = (): Promise<unknown> => qmp.execute('query-live-update');
      await preflight(); // makes the snapshot
      const rounds: { tookMs: number; beside: number; floor: number }[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        await progress(`round ${round + 1} of ${ROUNDS}`);
        const alone = await rateDuring(qmp, () => sleep(WINDOW_MS));
        let times = 0;
        const beside = await rateDuring(qmp, async () => {
          times = await again(preflight);
        });
        const starts = await rateDuring(qmp, () => again(startNode));
        const of = ({ perMs }: Rate): number => perMs / alone.perMs;
        rounds.push({ tookMs: beside.tookMs / times, beside: of(beside), floor: of(starts) });
      }
      return [
        { what: 'preflight, snapshot at hand', value: median(rounds.map(({ tookMs }) => tookMs)), unit: 'ms' },
        {
          what: 'speed of a busy guest, beside preflights / alone',
          value: median(rounds.map(({ beside }) => beside)),
          unit: '×',
        },
        {
          what: 'the floor: beside starts of a bare node / alone',
          value: median(rounds.map(({ floor }) => floor)),
          unit: '×',
        },
        {
          what: 'speed of a busy guest, beside preflights / beside starts of a bare node',
          value: median(rounds.map(({ beside, floor }) => beside / floor)),
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
