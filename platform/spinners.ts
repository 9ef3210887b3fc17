/**
 * How many threads of this process may spin at the same moment: each needs a partner that runs on
 * another CPU. Threads that find no room sleep as they always can.
 */
import { availableParallelism } from 'node:os';
import { atomic32, defineShared } from './shared.ts';

const Words = defineShared('spinners', {
  spinning: atomic32, // threads that spin now; each adds and subtracts itself
});

export const createSpinners = (): SharedArrayBuffer => new SharedArrayBuffer(Words.size);

/** Threads that may spin: all CPUs but the one that the partner needs. */
export const mostSpinners = (): number => Math.max(0, Math.min(4, availableParallelism() - 1));

export class Spinners {
  readonly #words: Int32Array;
  readonly #most: number;

  constructor(words: SharedArrayBuffer, most = mostSpinners()) {
    this.#words = new Int32Array(words);
    this.#most = most;
  }

  /** True: this thread may spin, until leave(). */
  enter(): boolean {
    if (Atomics.add(this.#words, Words.word.spinning, 1) < this.#most) return true;
    this.leave();
    return false;
  }

  leave(): void {
    Atomics.sub(this.#words, Words.word.spinning, 1);
  }
}
