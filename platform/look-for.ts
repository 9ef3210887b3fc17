/** Looks for something that another thread is about to do; a wake-up would take longer. */
import { yieldCpu } from './libc/cpu.ts';

const LOOKS = 16;

/**
 * Calls `look` until it is true, for about `ms`. Returns whether it was. `looks` of them come
 * between two looks at the clock.
 */
// HOT: no clock where the first looks find it
export function lookFor(ms: number, look: () => boolean, looks = LOOKS): boolean {
  let end = 0;
  for (;;) {
    for (let i = 0; i < looks; i++) if (look()) return true;
    const now = performance.now();
    if (end === 0) end = now + ms;
    else if (now >= end) return false;
  }
}

/** After so long the thread that is looked for may be one that waits for this CPU. */
const YIELD_MS = 0.03;

/**
 * Looks at a word of shared memory, which another thread is about to change. True: it has stayed
 * `value` for `ms`. `looks` of them come between two looks at the clock.
 */
// HOT: no clock where the first looks find the change
export function stays(words: Int32Array, index: number, value: number, ms: number, looks: number): boolean {
  let end = 0;
  let yieldAt = Number.POSITIVE_INFINITY;
  for (;;) {
    for (let look = 0; look < looks; look++) if (Atomics.load(words, index) !== value) return false;
    const now = performance.now();
    if (end === 0) {
      end = now + ms;
      yieldAt = now + YIELD_MS;
    } else if (now >= end) return true;
    else if (now >= yieldAt) {
      yieldAt = end;
      yieldCpu();
    }
  }
}
