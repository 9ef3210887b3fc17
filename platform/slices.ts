/**
 * Slices of long work, for a thread that serves many clients. The work is written as a generator
 * that yields wherever it may pause. Between two slices the thread's event loop goes round once and
 * serves everybody else. Each round does one slice of all the waiting work. The owners take turns,
 * and the works of one owner take turns as well. So a client gains nothing by asking for much at
 * once.
 */
import { nextRound } from './next-round.ts';

/** Work that may pause at each `yield`. */
export type Sliced<T> = Generator<void, T, void>;

/** The longest time of a slice in ms: how long other clients wait while one is served. */
export const SLICE_MS = 3;

/**
 * The work that waits for the next rounds of the event loop, by owner; each round does one slice.
 * The next one is the first of the first owner.
 */
const waiting = new Map<number, (() => void)[]>();

export interface SliceOptions {
  /** Default: SLICE_MS. Infinity: all in one go. */
  readonly sliceMs?: number;
  /** The owner of the work: a pid. Default: work of no process, which counts as one more owner. */
  readonly owner?: number | undefined;
  /** Called before and after each slice except the first, which runs within the caller. */
  readonly resume?: (() => void) | undefined;
  readonly pause?: (() => void) | undefined;
}

/** Runs work. If one slice is enough, it runs at once and no promise is made. */
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
 * Runs work to its end in one go. It is for work that is known to be short, and for threads that
 * serve nobody else.
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
  if (waiting.size === 0) nextRound(round);
  const queue = waiting.get(owner);
  if (queue) queue.push(goOn);
  else waiting.set(owner, [goOn]);
}

/** It runs after the event loop has looked at every socket. */
function round(): void {
  const [owner, queue] = waiting.entries().next().value!;
  const goOn = queue.shift()!;
  waiting.delete(owner);
  if (queue.length > 0) waiting.set(owner, queue); // behind all the others
  if (waiting.size > 0) nextRound(round);
  goOn();
}
