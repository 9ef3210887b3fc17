/**
 * Sleeps on two words, one of them shared with other processes, until one changes, and posts what
 * woke it: "first", "second" or "nothing". Word 2 is 1 while it is about to sleep.
 */
import { parentPort } from 'node:worker_threads';

import { futexWaitAny } from '../../../platform/libc/futex.ts';
import { workerInput } from '../../../platform/thread.ts';

export interface FutexSleeperData {
  readonly memory: SharedArrayBuffer;
  readonly timeoutMs: number;
}

const { memory, timeoutMs } = workerInput<FutexSleeperData>();
const words = new Int32Array(memory);
const seen = [words[0]!, words[1]!] as const;
Atomics.store(words, 2, 1);
Atomics.notify(words, 2);
futexWaitAny(
  [
    { words, index: 0, shared: false, seen: seen[0] },
    { words, index: 1, shared: true, seen: seen[1] },
  ],
  timeoutMs,
);
const changed = [0, 1].findIndex((word) => Atomics.load(words, word) !== seen[word]);
parentPort?.postMessage(['first', 'second'][changed] ?? 'nothing');
