/** The matrix for human eyes: a line or two per trial, and a summary. */
import type { MatrixDocument } from './document.ts';
import type { Outcome, TrialFacts } from './trial.ts';
import { trialFailures } from './verdict.ts';

const NAME_WIDTH = 56;
const OUTCOME_WIDTH = 12;

const ms = (value: number): string => `${value.toFixed(0)} ms`;

/** Who runs the guest now. */
export function describeRunner({ outcome, before, after }: TrialFacts): string {
  if (!after) return 'nobody';
  const image = outcome === 'completed' ? 'the new image' : 'the old image';
  return after.pid === before.pid ? `${image}, pid ${after.pid}` : `${image}, pid ${before.pid} → ${after.pid}`;
}

export function describeTimes({ stoodMs, pauseMs, rollbackMs }: TrialFacts): string {
  if (rollbackMs !== null) return `stood ${stoodMs === null ? '?' : ms(stoodMs)}, rollback ${ms(rollbackMs)}`;
  if (pauseMs !== null) return `pause ${ms(pauseMs)}`;
  return stoodMs === null ? 'no pause' : `stood ${ms(stoodMs)}`;
}

/** What the guest has lost over this trial. */
export function describeLosses({ guestBefore, guestAfter }: TrialFacts): string {
  if (!guestAfter) return '';
  const frames = guestAfter.framesLost - guestBefore.framesLost;
  const interrupts = guestAfter.interruptsLost - guestBefore.interruptsLost;
  const beats = guestAfter.heartbeats - guestBefore.heartbeats;
  return `${beats} heartbeats, ${frames} frames lost, ${interrupts} interrupts lost`;
}

export function describeTrial(facts: TrialFacts): string {
  const { name, outcome, said } = facts;
  const parts = [describeRunner(facts), describeTimes(facts), describeLosses(facts)].filter((part) => part !== '');
  const first = `${name.padEnd(NAME_WIDTH)} ${outcome.padEnd(OUTCOME_WIDTH)} ${parts.join('; ')}`;
  return [
    first,
    ...(said === null ? [] : [`    "${said}"`]),
    ...trialFailures(facts).map((line) => `    FAIL: ${line}`),
    '',
  ].join('\n');
}

const OUTCOMES: readonly Outcome[] = ['refused', 'rolled back', 'completed', 'ended', 'lost'];

export function describeDocument({ verdict, failures, trials, counts }: MatrixDocument): string {
  const sums = OUTCOMES.map((outcome) => [outcome, trials.filter((trial) => trial.outcome === outcome).length] as const)
    .filter(([, sum]) => sum > 0)
    .map(([outcome, sum]) => `${sum} ${outcome}`);
  const interrupts = counts.map(({ interrupts }) => interrupts);
  const sum = (of: 'raised' | 'delivered' | 'lost'): number =>
    interrupts.reduce((total, facts) => total + (facts?.[of] ?? 0), 0);
  return [
    `interrupts: ${sum('raised')} raised, ${sum('delivered')} delivered, ${sum('lost')} lost`,
    ...failures.map((failure) => `- ${failure}`),
    `${verdict}: ${trials.length} updates: ${sums.join(', ')}`,
    '',
  ].join('\n');
}
