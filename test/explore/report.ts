/** A failed execution, written as text. */
import type { Ended } from './execution.ts';

const LAST = 60;

export interface FailureReport {
  readonly failure: Ended;
  /** Lines `step<TAB>actor<TAB>event`, and the stack of an actor that threw. */
  readonly log: string;
  readonly actors: readonly string[];
  readonly replay: string;
  /** The test file. */
  readonly path: string;
}

/**
 * The message, the last events in order with a letter and name per actor, and the command that runs
 * the schedule again.
 */
export function renderFailure({ failure, log, actors, replay, path }: FailureReport): string {
  const width = Math.max(...actors.map((actor) => actor.length));
  const events = log
    .trimEnd()
    .split('\n')
    .map((line) => {
      const [step, actor, event] = line.split('\t');
      if (event === undefined) return line;
      const index = Number(actor);
      return `${step!.padStart(5)} ${String.fromCharCode(97 + index)} ${actors[index]!.padEnd(width)}  ${event}`;
    });
  const cut = events.length > LAST ? [`      … ${events.length - LAST} events before`] : [];
  return [
    `${replay.split(':')[0]}: ${failure.message}`,
    ...cut,
    ...events.slice(-LAST),
    `replay: EXPLORE_REPLAY='${replay}' npx vitest run ${path}`,
  ].join('\n');
}
