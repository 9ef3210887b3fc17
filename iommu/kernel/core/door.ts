/** Words at which others make calls, and the kernel's thread serves them. */
import type { WaitedWord } from '../../../platform/libc/futex.ts';

/**
 * Whether there was a call, and whether it has ended. A call that goes on may end as soon as the
 * thread's microtasks run; one that still goes on at the next look is answered by the socket.
 */
export type Served = 'nothing' | 'done' | 'goes-on';

/** How fast the calls of a channel follow each other when they are a burst. */
export interface Pace {
  /** Calls that follow each other within this time are a burst. */
  readonly burstMs: number;
  /** The kernel looks so long for the first call: its client is about to be woken by an answer. */
  readonly wakeMs: number;
  /** The kernel looks at the page for so long after a call that came there. */
  readonly patienceMs: number;
  /** With fewer calls a look was in vain. */
  readonly leastServed: number;
}

/**
 * A thread that makes its calls itself. By the socket two wake-ups and the copies of a page lie
 * between an answer and the next call: 300 µs where Linux runs in a virtual machine. With shorter
 * times a busy client whose calls come by the socket would seem idle, and they would go on to come
 * there.
 */
export const OWN_CALLS: Pace = { burstMs: 0.5, wakeMs: 0.2, patienceMs: 0.05, leastServed: 1 };
/** A supervisor's: between two calls, the first one's answer and the second go through Linux. */
export const TRAPPED_CALLS: Pace = { burstMs: 0.5, wakeMs: 0.15, patienceMs: 0.15, leastServed: 1 };

/**
 * The accesses of a mediated device. Where its worker and the kernel's thread share a CPU that
 * others want, a look holds the worker up, and few accesses come before the next sleep.
 */
export const DEVICE_ACCESSES: Pace = { burstMs: 0.25, wakeMs: 0.05, patienceMs: 0.05, leastServed: 16 };

/** A channel with a call page, or a mediated device. */
export interface Door {
  readonly pace: Pace;
  /** Serves the call that waits in the page. */
  serve(): Served;
  setAttentive(on: boolean): void;
  /** Whether the thread that makes the calls waits for the CPU that this thread has; if known. */
  waitsForOurCpu?(): boolean;
  /** Whether the thread that has rung had the CPU that this thread has. */
  rangFromOurCpu?(): boolean;
}

/** A door with a bell. */
export interface RingingDoor extends Door {
  /** Says that the bell brings the kernel, which must look once more; the bell's word. */
  letRing(): WaitedWord;
  /** Carries out work for its process: at once, or in the next turn of that. */
  inTurn(work: () => void): void;
}

/** Where the kernel's thread sleeps until a door is rung (rest.ts). */
export interface RestingPlace {
  /** Lets the door be rung. */
  add(door: RingingDoor): void;
  /** The door's word is about to go. */
  remove(door: RingingDoor): void;
}
