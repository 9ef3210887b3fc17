/**
 * A shard's reports to the pool, while it runs and at its end. They are plain data, because they
 * cross threads.
 */
import type { ProfileName } from '../../iommu/kernel/core/profile.ts';
import type { Defect } from './defects.ts';
import { COUNTERS, type Counts } from './event-log.ts';
import type { Invariant } from './invariants.ts';

export interface ShardPlan {
  readonly seed: number;
  readonly seconds: number;
  readonly profile: ProfileName;
  readonly inject?: Defect | undefined;
}

/** Counts of what was done, by all actors of one shard or of all shards. */
export interface Totals extends Counts {
  readonly rounds: number;
  readonly kills: number;
  readonly freezes: number;
  /** Kernels of the host that were replaced. */
  readonly kernels: number;
}

export interface FailureEvent {
  /** CLOCK_MONOTONIC, in ns. */
  readonly atNs: number;
  readonly actor: string;
  readonly text: string;
}

export interface Failure {
  readonly invariant: Invariant;
  readonly actor: string;
  readonly message: string;
  readonly atNs: number;
  /** The last stderr lines of processes. */
  readonly notes: readonly string[];
  /** The last events of each actor, in order of time. */
  readonly events: readonly FailureEvent[];
}

export interface ShardOutcome {
  readonly seed: number;
  readonly totals: Totals;
  readonly failure?: Failure;
}

/** Shard → pool, while the shard runs. */
export interface ShardProgress {
  readonly totals: Totals;
}

const NO_COUNTS = Object.fromEntries(COUNTERS.map((counter) => [counter, 0])) as unknown as Counts;
export const NOTHING_DONE: Totals = { ...NO_COUNTS, rounds: 0, kills: 0, freezes: 0, kernels: 0 };

/** The sum of each count; of the slowest answer, the maximum. */
export function addUp(all: readonly Totals[]): Totals {
  const sum: Record<string, number> = { ...NOTHING_DONE };
  for (const totals of all) for (const [what, value] of Object.entries(totals)) sum[what]! += value;
  sum.slowestUs = Math.max(0, ...all.map(({ slowestUs }) => slowestUs));
  return sum as unknown as Totals;
}
