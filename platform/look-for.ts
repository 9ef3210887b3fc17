/** Looks for something that another thread is about to do; a wake-up would take longer. */

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
