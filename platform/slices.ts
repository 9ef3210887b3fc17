/**
 * Long work of a thread that serves many: it is written as a generator that yields wherever it may pause, and runs in slices. Between two
 * slices the thread's event loop goes round once and serves everybody else; all the work that is waiting has one slice per round.
 */

/** Work that may pause at each `yield`. */
export type Sliced<T> = Generator<void, T, void>;

/** How long others may have to wait for a slice. */
const SLICE_MS = 3;

/** What goes on in the next rounds of the event loop, one per round. */
const waiting: (() => void)[] = [];

export interface SliceHooks {
  /** Around each slice but the first. */
  readonly resume?: () => void;
  readonly pause?: () => void;
}

/** Runs work: at once if a slice is enough, so that the short case makes no promise. */
export function runSliced<T>(work: Sliced<T>, hooks: SliceHooks = {}): T | Promise<T> {
  const first = slice(work);
  if (first.done) return first.value;
  return new Promise((resolve, reject) => {
    const goOn = (): void => {
      try {
        hooks.resume?.();
        const next = slice(work);
        if (next.done) resolve(next.value);
        else later(goOn);
      } catch (error) {
        reject(error);
      } finally {
        hooks.pause?.();
      }
    };
    later(goOn);
  });
}

/** Runs work to its end in one go: for what is known to be short, and for whoever has the thread to itself. */
export function runWhole<T>(work: Sliced<T>): T {
  for (;;) {
    const next = work.next();
    if (next.done) return next.value;
  }
}

function slice<T>(work: Sliced<T>): IteratorResult<void, T> {
  const until = performance.now() + SLICE_MS;
  for (;;) {
    const next = work.next();
    if (next.done || performance.now() >= until) return next;
  }
}

function later(goOn: () => void): void {
  waiting.push(goOn);
  if (waiting.length === 1) setImmediate(round);
}

/** setImmediate runs after the event loop has looked at every socket. */
function round(): void {
  const next = waiting.shift()!;
  if (waiting.length > 0) setImmediate(round);
  next();
}
