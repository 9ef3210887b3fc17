/**
 * Long work of a thread that serves many: it is written as a generator that yields wherever it may
 * pause, and runs in slices. Between two slices the thread's event loop goes round once and serves
 * everybody else. Of all the work that is waiting one slice is done per round: the owners take
 * turns, and what is one owner's has its slices in turn as well. So it is no gain to ask for much
 * at once.
 */

/** Work that may pause at each `yield`. */
export type Sliced<T> = Generator<void, T, void>;

/** How long others may have to wait for a slice of work that serves one. */
export const SLICE_MS = 3;

/**
 * What goes on in the next rounds of the event loop, one per round, by owner; the first one's first
 * is next.
 */
const waiting = new Map<number, (() => void)[]>();

export interface SliceOptions {
  /** Default: SLICE_MS. Infinity: all in one go. */
  readonly sliceMs?: number;
  /** Whose work it is: a pid. Default: nobody's, which is as good as one more owner. */
  readonly owner?: number | undefined;
  /** Called before and after each slice but the first, which is the caller's own. */
  readonly resume?: (() => void) | undefined;
  readonly pause?: (() => void) | undefined;
}

/** Runs work: at once if a slice is enough, so that the short case makes no promise. */
export function runSliced<T>(work: Sliced<T>, options: SliceOptions = {}): T | Promise<T> {
  const { sliceMs = SLICE_MS, owner, resume, pause } = options;
  const first = slice(work, sliceMs);
  if (first.done) return first.value;
  return new Promise((resolve, reject) => {
    const goOn = (): void => {
      try {
        resume?.();
        const next = slice(work, sliceMs);
        if (next.done) resolve(next.value);
        else later(goOn, owner);
      } catch (error) {
        reject(error);
      } finally {
        pause?.();
      }
    };
    later(goOn, owner);
  });
}

/**
 * Runs work to its end in one go: for what is known to be short, and for whoever has the thread to
 * itself.
 */
export function runWhole<T>(work: Sliced<T>): T {
  for (;;) {
    const next = work.next();
    if (next.done) return next.value;
  }
}

/** Resolves after the event loop has served others, when it is this one's turn. */
export function othersServed(owner?: number): Promise<void> {
  return new Promise((resolve) => later(resolve, owner));
}

function slice<T>(work: Sliced<T>, sliceMs: number): IteratorResult<void, T> {
  const until = performance.now() + sliceMs;
  for (;;) {
    const next = work.next();
    if (next.done || performance.now() >= until) return next;
  }
}

const NOBODY = 0;

function later(goOn: () => void, owner = NOBODY): void {
  if (waiting.size === 0) setImmediate(round);
  const queue = waiting.get(owner);
  if (queue) queue.push(goOn);
  else waiting.set(owner, [goOn]);
}

/** setImmediate runs after the event loop has looked at every socket. */
function round(): void {
  const [owner, queue] = waiting.entries().next().value!;
  const goOn = queue.shift()!;
  waiting.delete(owner);
  if (queue.length > 0) waiting.set(owner, queue); // behind all the others
  if (waiting.size > 0) setImmediate(round);
  goOn();
}
