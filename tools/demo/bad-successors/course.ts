/** The course of one update, as a client of the monitor sees it. */
import { argumentsOf, type UpdateTarget } from '../../clients/live-update.ts';
import type { QmpEvent } from '../../clients/qmp-client.ts';
import { describeEnding } from '../../launch/child.ts';
import type { Machine } from '../../launch/machine.ts';
import type { Outcome, Runner, Trial } from './trial.ts';

/** A successor may be asked three times, for 10 s each, and then hang. */
const UPDATE_MS = 90_000;
/** How long a VMM that has closed its monitor may take to end. */
const END_MS = 20_000;

export interface Course {
  readonly outcome: Outcome;
  readonly said: string | null;
  readonly meanwhile: string | null;
  readonly stoodMs: number | null;
  readonly pauseMs: number | null;
  readonly rollbackMs: number | null;
}

const isEnd = ({ event, data }: QmpEvent): boolean => event === 'LIVE_UPDATE' && data.status !== 'started';
const numberOr = (value: unknown): number | null => (typeof value === 'number' ? value : null);

/** Asks for the update, and follows it to its end. Never rejects. */
export async function follow(machine: Machine, target: UpdateTarget, trial: Trial, before: Runner): Promise<Course> {
  const { qmp } = machine;
  let stoppedAt: number | undefined;
  let resumedAt: number | undefined;
  const stopListening = qmp.listen(({ event }) => {
    if (event === 'STOP' && stoppedAt === undefined) {
      stoppedAt = performance.now();
      trial.stopped?.(machine);
    }
    if (event === 'RESUME') {
      if (resumedAt === undefined) trial.resumed?.(machine, before);
      resumedAt = performance.now();
    }
  });
  const stood = (): number | null =>
    stoppedAt === undefined || resumedAt === undefined ? null : resumedAt - stoppedAt;
  const nothing = { meanwhile: null, stoodMs: null, pauseMs: null, rollbackMs: null };
  try {
    const ended = qmp.nextEvent(isEnd, UPDATE_MS);
    ended.catch(() => {}); // the command may be refused before
    try {
      await machine.whileAlive(qmp.execute('live-update', argumentsOf(target), UPDATE_MS));
    } catch (error) {
      if (await hasEnded(machine, 0)) throw error;
      return { ...nothing, outcome: 'refused', said: (error as Error).message };
    }
    const meanwhile = (await trial.meanwhile?.(machine)) ?? null;
    const { data } = await machine.whileAlive(ended);
    const wentBack = stoppedAt === undefined ? 'refused' : 'rolled back';
    return {
      outcome: data.status === 'completed' ? 'completed' : wentBack,
      said: typeof data.error === 'string' ? data.error : null,
      meanwhile,
      stoodMs: stood(),
      pauseMs: numberOr(data.pauseMs),
      rollbackMs: numberOr(data.rollbackMs),
    };
  } catch (error) {
    const { outcome, said } = await ending(machine);
    return { ...nothing, outcome, said: said ?? (error as Error).message };
  } finally {
    stopListening();
  }
}

const hasEnded = ({ vmm }: Machine, ms: number): Promise<boolean> =>
  Promise.race([
    vmm.closed.then(() => true),
    new Promise<boolean>((resolve) => setTimeout(resolve, ms, false).unref()),
  ]);

/**
 * How a VMM ended. In good order means: by itself, with lines that say why (one of the new image,
 * one of the guardian), and no process of it is left that holds our pipes.
 */
async function ending(machine: Machine): Promise<{ readonly outcome: Outcome; readonly said: string | null }> {
  if (!(await hasEnded(machine, END_MS))) return { outcome: 'lost', said: null };
  const how = await machine.vmm.closed;
  const lines = machine.vmm.errors.trimEnd().split('\n');
  const inOrder = how.status !== null && lines.every((line) => line.startsWith('vmm: '));
  return { outcome: inOrder ? 'ended' : 'lost', said: `${describeEnding(how)}: ${lines.join(' / ')}` };
}
