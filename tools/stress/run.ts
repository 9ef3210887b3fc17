/**
 * A stress run: shards in a pool of threads, each with processes of its own. The first failure ends
 * all shards.
 */
import { MessageChannel } from 'node:worker_threads';

import { Piscina } from 'piscina';

import { taskUrl } from '../launch/programs.ts';
import { addUp, NOTHING_DONE, type ShardOutcome, type ShardPlan, type ShardProgress, type Totals } from './outcome.ts';
import type { ShardTask } from './shard.task.ts';

export interface RunPlan extends ShardPlan {
  /** Number of shards. Each gets a seed of its own, counting up from the plan's seed. */
  readonly workers: number;
}

export interface RunOptions {
  /** Ends the run early. */
  readonly signal: AbortSignal;
  readonly onProgress: (totals: Totals) => void;
}

/** Runs the shards and returns the outcome of each. */
export async function runStress({ workers, ...plan }: RunPlan, options: RunOptions): Promise<readonly ShardOutcome[]> {
  const pool = new Piscina<ShardTask, ShardOutcome>({
    filename: taskUrl('tools-stress-shard').href,
    minThreads: workers,
    maxThreads: workers,
    execArgv: [],
  });
  const totals = new Array<Totals>(workers).fill(NOTHING_DONE);
  const over = new AbortController();
  options.signal.addEventListener('abort', () => over.abort());
  const runOne = async (_: unknown, i: number): Promise<ShardOutcome> => {
    const { port1: here, port2: port } = new MessageChannel();
    here.on('message', (progress: ShardProgress) => {
      totals[i] = progress.totals;
      options.onProgress(addUp(totals));
    });
    over.signal.addEventListener('abort', () => here.postMessage('stop'));
    try {
      const outcome = await pool.run({ plan: { ...plan, seed: seedOf(plan.seed, i) }, port }, { transferList: [port] });
      if (outcome.failure) over.abort();
      return outcome;
    } catch (error) {
      over.abort();
      throw error;
    } finally {
      here.close();
    }
  };
  try {
    if (options.signal.aborted) over.abort();
    const settled = await Promise.allSettled(Array.from({ length: workers }, runOne));
    return settled.map((one) => {
      if (one.status === 'rejected') throw one.reason;
      return one.value;
    });
  } finally {
    await pool.destroy();
  }
}

/** The seed of one shard. With it the shard can be played again alone. */
const seedOf = (seed: number, shard: number): number => (seed + shard) >>> 0;
