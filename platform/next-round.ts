/**
 * Work of this thread that waits for the event loop, and not for a fd. Whoever puts the thread to
 * sleep elsewhere than in the event loop must ask for it first.
 */

let rounds = 0;
const deadlines = new Set<{ readonly atMs: number }>();

/** As setImmediate: `work` runs when the event loop has looked at every fd. */
export function nextRound(work: () => void): void {
  rounds++;
  setImmediate(() => {
    rounds--;
    work();
  });
}

/** Whether such work waits. */
export const roundsPending = (): boolean => rounds > 0;

/**
 * As setTimeout, for work that is not to come late. It does not keep the thread alive. Returns what
 * cancels it.
 */
export function dueIn(ms: number, work: () => void): () => void {
  const deadline = { atMs: performance.now() + ms };
  deadlines.add(deadline);
  const timer = setTimeout(() => {
    deadlines.delete(deadline);
    work();
  }, ms).unref();
  return () => {
    deadlines.delete(deadline);
    clearTimeout(timer);
  };
}

/** Milliseconds until the first of these is due; 0 if one is late, Infinity if there is none. */
export function msUntilDue(): number {
  let first = Number.POSITIVE_INFINITY;
  for (const { atMs } of deadlines) first = Math.min(first, atMs);
  return Math.max(0, first - performance.now());
}
