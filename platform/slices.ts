/**
 * Long work of a thread that serves many: it is written as a generator that yields wherever it may pause, and runs in slices. Between two
 * slices the thread's event loop goes round once and serves everybody else; all the work that is waiting has one slice per round.
 */

/** Work that may pause at each `yield`. */
export type Sliced<T> = Generator<void, T, void>;

/** How long others may have to wait for a slice of work that serves one. */
export const SLICE_MS = 3;

/** What goes on in the next rounds of the event loop, one per round. */
const waiting: (() => void)[] = [];

export interface SliceOptions {
  /** Default: SLICE_MS. Infinity: all in one go. */
  readonly sliceMs?: number;
  /** Called before and after each slice but the first, which is the caller's own. */
  readonly resume?: (() => void) | undefined;
  readonly pause?: (() => void) | undefined;
}

/** Runs work: at once if a slice is enough, so that the short case makes no promise. */
export function runSliced<T>(work: Sliced<T>, options: SliceOptions = {}): T | Promise<T> {
  const { sliceMs = SLICE_MS, resume, pause } = options;
  const first = slice(work, sliceMs);
  if (first.done) return first.value;
  return new Promise((resolve, reject) => {
    const goOn = (): void => {
      try {
        resume?.();
        const next = slice(work, sliceMs);
        if (next.done) resolve(next.value);
        else later(goOn);
      } catch (error) {
        reject(error);
      } finally {
        pause?.();
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

/** Resolves after the event loop has served others, when it is this one's turn. */
export function othersServed(): Promise<void> {
  return new Promise(later);
}

function slice<T>(work: Sliced<T>, sliceMs: number): IteratorResult<void, T> {
  const until = performance.now() + sliceMs;
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
