/** The verdict of the matrix: a pure function of its facts. */
import type { InterruptFacts } from '../facts.ts';
import { unless } from '../verdict.ts';
import type { TrialFacts } from './trial.ts';

/** What a machine's last count said, after all its trials. */
export interface LastCount {
  /** The trials, by their number from 1. */
  readonly trials: readonly number[];
  readonly interrupts: InterruptFacts | null;
  readonly ramHashMatches: boolean | null;
}

export interface MatrixFacts {
  readonly trials: readonly TrialFacts[];
  readonly counts: readonly LastCount[];
  /** Trials that could not be made, one line each. */
  readonly errors: readonly string[];
}

/** One line for each fact that is not as it should be. No line means "pass". */
export function findFailures({ trials, counts, errors }: MatrixFacts): string[] {
  return [
    ...errors,
    ...unless(trials.length > 0, 'nothing was tried'),
    ...trials.flatMap((trial) => trialFailures(trial).map((line) => `${trial.name}: ${line}`)),
    ...counts.flatMap((count) => countFailures(count).map((line) => `trials ${count.trials.join(', ')}: ${line}`)),
  ];
}

export function trialFailures(trial: TrialFacts): string[] {
  const { outcome, expected, said, saidRight, before, after, guestBefore, guestAfter } = trial;
  const result = unless(expected.includes(outcome), `${outcome} instead of ${expected.join(' or ')}: ${said}`);
  const saying = unless(saidRight, `the user was told: ${said}`);
  if (!after || !guestAfter) return [...result, ...saying];
  const isNew = outcome === 'completed';
  const lost = guestAfter.framesLost - guestBefore.framesLost;
  const wrong = guestAfter.wrong - guestBefore.wrong;
  const interrupts = guestAfter.interruptsLost - guestBefore.interruptsLost;
  return [
    ...result,
    ...saying,
    ...unless(
      after.generation === before.generation + (isNew ? 1 : 0),
      `generation ${before.generation} became ${after.generation}`,
    ),
    ...unless(isNew || after.image === before.image, `the guest runs in ${after.image}, not in ${before.image}`),
    ...unless(outcome !== 'refused' || after.pid === before.pid, `pid ${before.pid} became ${after.pid}`),
    ...unless(guestAfter.heartbeats > guestBefore.heartbeats, "the guest's heart stopped"),
    ...unless(lost === 0, `${lost} frames were lost`),
    ...unless(wrong === 0, `${wrong} frames, copies or results were wrong`),
    ...unless(interrupts === 0, `the guest missed ${interrupts} interrupts`),
  ];
}

function countFailures({ interrupts, ramHashMatches }: LastCount): string[] {
  return [
    ...(interrupts
      ? unless(
          interrupts.lost === 0 && interrupts.raised > 0,
          `${interrupts.raised} interrupts raised, ${interrupts.delivered} delivered`,
        )
      : ['interrupts were not counted']),
    ...unless(
      ramHashMatches === true,
      "guest RAM differs between the VMM's mapping and the board's, or was not hashed",
    ),
  ];
}
