/** Tries one update on a machine, and tells what was seen. */
import { mkdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

import type { GuestFacts } from '../../launch/guest-console.ts';
import type { Machine } from '../../launch/machine.ts';
import { type Course, follow } from './course.ts';
import type { GuestHealth, Runner, Trial, TrialFacts } from './trial.ts';

const ANSWER_MS = 10_000;
/** The guest's heart beats five times a second. */
const HEART_MS = 10_000;
/** A very busy machine's guest checks the frames of 5 s in that time. */
const CATCH_UP_MS = 180_000;
/** What comes in a quarter of a second. */
const FEW_FRAMES = 128;

/** `folder` is made for the successor, and stays: a VMM may run from it. */
export async function attempt(machine: Machine, trial: Trial, folder: string): Promise<TrialFacts> {
  mkdirSync(folder);
  const target = trial.target?.(folder) ?? {};
  const before = await runnerOf(machine);
  const guestBefore = health(await whenCaughtUp(machine));
  await trial.before?.(machine);
  const began = performance.now();
  const course = await follow(machine, target, trial, before);
  const tookMs = performance.now() - began;
  const than = trial.resets ? 0 : guestBefore.heartbeats;
  const seen = course.outcome === 'ended' ? NOBODY : await lookAfter(machine, trial, than);
  const { meanwhile, outcome, ...rest } = course;
  return {
    name: trial.name,
    expected: trial.expected,
    ...rest,
    // whatever was said: without a heart that beats there is no guest
    outcome: outcome === 'ended' || seen.guestAfter ? outcome : 'lost',
    saidRight: saidRight(trial, course),
    before,
    tookMs,
    guestBefore: trial.resets ? { heartbeats: 0, framesLost: 0, wrong: 0, interruptsLost: 0 } : guestBefore,
    ...seen,
  };
}

interface Seen {
  readonly after: Runner | null;
  readonly guestAfter: GuestHealth | null;
}

const NOBODY: Seen = { after: null, guestAfter: null };

async function lookAfter(machine: Machine, trial: Trial, than: number): Promise<Seen> {
  try {
    await machine.whileAlive(trial.after?.(machine) ?? Promise.resolve());
    const guest = await machine.whileAlive(untilHeartBeats(machine, than));
    return { after: await machine.whileAlive(runnerOf(machine)), guestAfter: health(guest) };
  } catch {
    return NOBODY; // the verdict says that the guest is lost
  }
}

/**
 * The guest's counts, as soon as it has checked what its devices wrote in the pause of the last
 * trial. Its rings do not hold the frames of two long pauses.
 */
async function whenCaughtUp({ console: guest }: Machine): Promise<GuestFacts> {
  const deadline = performance.now() + CATCH_UP_MS;
  for (;;) {
    const facts = await guest.stats(ANSWER_MS);
    if (facts.framesPending < FEW_FRAMES || performance.now() > deadline) return facts;
    await sleep(50); // until the guest has done some more of its work
  }
}

/**
 * The guest's counts, as soon as its heart has beaten more often than that. Rejects if it stands
 * still.
 */
async function untilHeartBeats({ console: guest }: Machine, than: number): Promise<GuestFacts> {
  const deadline = performance.now() + HEART_MS;
  for (;;) {
    const facts = await guest.stats(ANSWER_MS);
    if (facts.heartbeats > than) return facts;
    if (performance.now() > deadline) throw new Error(`no heartbeat within ${HEART_MS} ms`);
    await sleep(50); // a quarter of a heartbeat
  }
}

const health = (facts: GuestFacts): GuestHealth => ({
  heartbeats: facts.heartbeats,
  framesLost: facts.framesLost,
  wrong: facts.framesCorrupt + facts.factorialsBad + facts.dmaRoundTripsBad + facts.mscribeBad,
  interruptsLost: facts.interruptsLost,
});

/** The process that answers at the monitor, and the program that it runs. */
async function runnerOf({ qmp }: Machine): Promise<Runner> {
  const { pid, generation } = (await qmp.execute('x-stats', undefined, ANSWER_MS)) as Runner;
  const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  return { pid, generation, image: words.find((word) => word.endsWith('.cjs')) ?? '' };
}

function saidRight({ says, meanwhileSays }: Trial, { outcome, said, meanwhile }: Course): boolean {
  const main = outcome === 'completed' || (said !== null && (says ?? /./).test(said));
  return main && (meanwhileSays === undefined || meanwhileSays.test(meanwhile ?? ''));
}
