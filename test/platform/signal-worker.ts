/** Signals one source many times, once all its fellows are there. */
import { EventfdSources } from '../../platform/eventfd-source.ts';
import { workerInput } from '../../platform/thread.ts';

export interface SignalWork {
  readonly sources: SharedArrayBuffer;
  readonly source: number;
  readonly times: number;
  /** One word: threads that are ready. */
  readonly ready: SharedArrayBuffer;
  readonly threads: number;
}

const { sources, source, times, ready, threads } = workerInput<SignalWork>();
const view = new EventfdSources(sources);
const words = new Int32Array(ready);
Atomics.add(words, 0, 1);
Atomics.notify(words, 0);
// woken by each
for (let n = Atomics.load(words, 0); n < threads; n = Atomics.load(words, 0)) Atomics.wait(words, 0, n, 10_000);
for (let i = 0; i < times; i++) view.signal(source);
