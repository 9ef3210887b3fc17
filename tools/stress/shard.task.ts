/** Piscina task: one shard of a stress run. Only run.ts starts it. */
import type { MessagePort } from 'node:worker_threads';

import type { ShardOutcome, ShardPlan, ShardProgress } from './outcome.ts';
import { Shard } from './shard.ts';

export interface ShardTask {
  readonly plan: ShardPlan;
  /** The port sends progress out. Any message that comes in ends the shard. */
  readonly port: MessagePort;
}

const PROGRESS_MS = 200;

export default async function runShard({ plan, port }: ShardTask): Promise<ShardOutcome> {
  const asked = new AbortController();
  port.on('message', () => asked.abort());
  let lastMs = 0;
  const shard = new Shard(plan, {
    signal: asked.signal,
    onProgress: (totals) => {
      const nowMs = performance.now();
      if (nowMs - lastMs < PROGRESS_MS) return;
      lastMs = nowMs;
      port.postMessage({ totals } satisfies ShardProgress);
    },
  });
  try {
    return await shard.run();
  } finally {
    port.close();
  }
}
