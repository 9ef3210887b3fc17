/** Between filler-worker.ts and the test. */

export interface FillerWork {
  readonly sources: SharedArrayBuffer;
  readonly source: number;
  readonly words: SharedArrayBuffer;
}

/** Indices of the words. */
export const STATE = 0;
export const ACKNOWLEDGED = 1;
/** What STATE says, and ACKNOWLEDGED when the worker has seen it. */
export const RUN = 0;
export const STOP = 1;
export const PAUSE = 2;

/** Sets the state; returns when the worker has seen it. */
export function tellFiller(words: Int32Array, state: typeof RUN | typeof PAUSE): void {
  Atomics.store(words, STATE, state);
  Atomics.notify(words, STATE);
  for (let seen = Atomics.load(words, ACKNOWLEDGED); seen !== state; seen = Atomics.load(words, ACKNOWLEDGED)) {
    if (Atomics.wait(words, ACKNOWLEDGED, seen, 10_000) === 'timed-out') throw new Error('the filler does not answer');
  }
}
