/** Bench of VMMs that update at once, against the same VMMs one after another. */
import { liveUpdate } from '../clients/live-update.ts';
import { Machine } from '../launch/machine.ts';
import { guestPath } from '../launch/programs.ts';
import { type Figure, median, type Progress } from './result.ts';

const VMMS = 8;
const ROUNDS = 3;
/** The last one waits for seven others. */
const TIMEOUT_MS = 120_000;

const update = (machine: Machine): Promise<number> =>
  liveUpdate(machine.qmp, {}, { timeoutMs: TIMEOUT_MS }).then(({ pauseMs }) => pauseMs);

/** Starts them one after another, into `machines`. */
async function start(machines: Machine[], progress: Progress): Promise<void> {
  while (machines.length < VMMS) {
    await progress(`VMM ${machines.length + 1} of ${VMMS}`);
    machines.push(await Machine.start({ devices: ['edu'], memory: '64M', kernel: guestPath('demo') }));
  }
}

export async function benchAtOnce(progress: Progress): Promise<Figure[]> {
  const machines: Machine[] = [];
  try {
    await start(machines, progress);
    const alone: number[] = [];
    const atOnce: number[] = [];
    const allMs: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      for (const [i, machine] of machines.entries()) {
        await progress(`round ${round + 1} of ${ROUNDS}: update of VMM ${i + 1}`);
        alone.push(await update(machine));
      }
      await progress(`round ${round + 1} of ${ROUNDS}: all at once`);
      const begin = performance.now();
      atOnce.push(...(await Promise.all(machines.map(update))));
      allMs.push(performance.now() - begin);
    }
    return [
      { what: `update pause, each of ${VMMS} VMMs alone`, value: median(alone), unit: 'ms' },
      { what: `update pause, ${VMMS} VMMs at once`, value: median(atOnce), unit: 'ms' },
      { what: 'update pause, at once / alone', value: median(atOnce) / median(alone), unit: '×', atMost: 1.25 },
      { what: 'longest update pause, at once / alone', value: Math.max(...atOnce) / Math.max(...alone), unit: '×' },
      { what: `until ${VMMS} VMMs have updated, median`, value: median(allMs), unit: 'ms' },
    ];
  } finally {
    await Promise.all(machines.map((machine) => machine.stop()));
  }
}
