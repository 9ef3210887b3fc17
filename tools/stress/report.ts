/** The report of a stress run, as one JSON document or as text for people. */
import { INVARIANTS } from './invariants.ts';
import { addUp, type Failure, type FailureEvent, type ShardOutcome, type Totals } from './outcome.ts';
import type { RunPlan } from './run.ts';

export interface ReportedFailure {
  readonly seed: number;
  readonly invariant: Failure['invariant'];
  readonly rule: string;
  readonly actor: string;
  readonly message: string;
  readonly notes: readonly string[];
  /** Milliseconds before (−) or after the failure was seen. */
  readonly events: readonly { readonly atMs: number; readonly actor: string; readonly text: string }[];
  /**
   * The command that plays the shard again. The decisions are the same; their interleaving depends
   * on the machine.
   */
  readonly replay: string;
}

export interface StressDocument {
  readonly verdict: 'clean' | 'broken';
  readonly seed: number;
  readonly workers: number;
  readonly seconds: number;
  readonly profile: string;
  readonly livevmm: string;
  readonly node: string;
  readonly totals: Totals;
  readonly failures: readonly ReportedFailure[];
}

export function makeDocument(plan: RunPlan, outcomes: readonly ShardOutcome[], version: string): StressDocument {
  const failures = outcomes.flatMap(({ seed, failure }) => (failure ? [describeFailure(plan, seed, failure)] : []));
  const { seed, workers, seconds, profile } = plan;
  return {
    verdict: failures.length === 0 ? 'clean' : 'broken',
    seed,
    workers,
    seconds,
    profile,
    livevmm: version,
    node: process.version,
    totals: addUp(outcomes.map(({ totals }) => totals)),
    failures,
  };
}

function describeFailure(plan: RunPlan, seed: number, failure: Failure): ReportedFailure {
  const { invariant, actor, message, notes, atNs, events } = failure;
  const relative = (event: FailureEvent): ReportedFailure['events'][0] => {
    return { atMs: (event.atNs - atNs) / 1e6, actor: event.actor, text: event.text };
  };
  const replay = replayCommand(plan, seed);
  const rule = INVARIANTS[invariant];
  return { seed, invariant, rule, actor, message, notes, events: events.map(relative), replay };
}

function replayCommand({ seconds, profile, inject }: RunPlan, seed: number): string {
  const defect = inject === undefined ? '' : ` --inject ${inject}`;
  return `livevmm stress --seed ${seed} --workers 1 --seconds ${seconds} --profile ${profile}${defect}`;
}

const GIB = 2 ** 30;

function formatTotals(totals: Totals): string {
  const { operations, maps, unmaps, vaddrUpdates, refusals, garbage } = totals;
  const { execs, failedExecs, takeovers, kills, freezes, kernels, kexecs, claims } = totals;
  const { pagesChecked, countsChecked, transfers, sleeps, frames, interrupts, dmaBytes, slowestUs, rounds } = totals;
  return [
    `${operations} calls: ${maps} maps, ${unmaps} unmaps, ${vaddrUpdates} vaddr updates, ${refusals} refused as they must be, ${garbage} senseless`,
    `${execs} execs, ${failedExecs} failed ones, ${takeovers} to bad successors, ${kills} kills, ${freezes} freezes, ${rounds} rounds`,
    `${kernels} kernels replaced; ${kexecs} times a client found what it had, by ${claims} claims`,
    `${(dmaBytes / GIB).toFixed(2)} GiB of DMA; checked: ${pagesChecked} guarded pages, ${transfers} copies (${sleeps} slept on an invalid vaddr), ${frames} frames, ${interrupts} interrupts, ${countsChecked} counts`,
    `slowest answer of the host: ${(slowestUs / 1000).toFixed(1)} ms`,
  ].join('\n');
}

export function formatDocument(document: StressDocument): string {
  const { verdict, seed, workers, totals, failures } = document;
  const shards = `${workers} ${workers === 1 ? 'shard' : 'shards'}`;
  return `${failures.map(formatFailure).join('')}${formatTotals(totals)}\n${verdict}: seed ${seed}, ${shards}\n`;
}

function formatFailure({ seed, invariant, rule, actor, message, notes, events, replay }: ReportedFailure): string {
  const number = /^\d$/.test(invariant) ? `invariant ${invariant}` : invariant;
  const lines = events.map(({ atMs, actor: who, text }) => `${atMs.toFixed(3).padStart(12)}  ${who.padEnd(8)} ${text}`);
  return `BROKEN, ${number}: ${rule}
  ${actor}: ${message}
${notes.map((note) => `  ${note}\n`).join('')}last events with seed ${seed}, in ms before it was seen:
${lines.join('\n')}
again: ${replay}

`;
}
