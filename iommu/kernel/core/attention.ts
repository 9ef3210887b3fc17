/**
 * The kernel's attention to words that others write: call pages of clients
 * (iommu/abi/call-page.ts), and channels of mediated devices (iommu/bus/mediated-channel.ts). While
 * one of them makes one call after the other, the kernel's thread looks at its words instead of
 * waiting for its socket or its message. It looks for some microseconds after each call, and lets
 * the event loop go round in between. So who is idle costs nothing, and others wait no longer than
 * for a turn.
 */
import { Backoff } from '../../../platform/backoff.ts';
import { mostSpinners } from '../../../platform/spinners.ts';
import { StepAside } from '../../../platform/step-aside.ts';
import { wakes } from './wakes.ts';

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
}

interface Attended {
  readonly door: Door;
  lastCallMs: number;
  /** Calls that have come there since the kernel began to look. */
  served: number;
  /** Of bursts: those that get no attention are skipped. */
  readonly backoff: Backoff;
}

/** The longest look before the event loop serves everybody else. */
const ROUND_MS = 0.3;
/** After looks in vain, so many bursts are followed by none. */
const MOST_SKIPPED = 15;
/** Looks between two looks at the clock. */
const LOOKS = 16;

export class Attention {
  /** Each door that is looked at needs a client that runs on another CPU. */
  readonly #most = mostSpinners();
  readonly #known = new WeakMap<Door, Attended>();
  #now: readonly Attended[] = [];
  /** Doors that the kernel is about to look at. */
  #coming: readonly Attended[] = [];
  #roundComes = false;
  readonly #aside = new StepAside();

  /** A call of this door came by the socket. To be told before it is served. */
  called(door: Door): void {
    const now = performance.now();
    const known = this.#known.get(door) ?? newcomer(door);
    this.#known.set(door, known);
    const isBurst = now - known.lastCallMs < door.pace.burstMs;
    known.lastCallMs = now;
    if (this.#now.includes(known)) {
      known.backoff.missed(); // the client does not run when we look, or does not want the page
      this.dismiss(door);
    } else if (isBurst && !known.backoff.skips()) this.#attend(known);
  }

  /** The answer to a call of this door is given. */
  answered(door: Door): void {
    const known = this.#known.get(door);
    if (known) known.lastCallMs = performance.now();
  }

  /** Looks at this door no more, until its next burst. */
  dismiss(door: Door): void {
    const rest = this.#now.filter((attended) => attended.door !== door);
    if (rest.length === this.#now.length) return;
    this.#now = rest;
    this.#aside.looked(false);
    door.setAttentive(false);
  }

  #attend(known: Attended): void {
    if (this.#now.length >= this.#most) return;
    known.served = 0;
    this.#now = [...this.#now, known];
    this.#coming = [...this.#coming, known];
    known.door.setAttentive(true);
    if (this.#roundComes) return;
    this.#roundComes = true;
    setImmediate(this.#round); // when this call is answered, and every other socket was looked at
  }

  readonly #round = (): void => {
    this.#meetNewcomers();
    const end = performance.now() + ROUND_MS;
    const woken = wakes();
    let others = false;
    for (let now = 0; now < end && !others && this.#now.length > 0; now = performance.now()) {
      for (let look = 0; look < LOOKS && !others; look++) others = this.#lookOnce() || wakes() !== woken;
      this.#dismissIdle();
    }
    this.#roundComes = this.#now.length > 0;
    if (this.#roundComes) setImmediate(this.#round);
  };

  /**
   * The clients of these doors have just been woken by answers on the socket. One whom Linux has
   * woken on this thread's CPU cannot run while this thread looks for it.
   */
  #meetNewcomers(): void {
    const coming = this.#coming;
    this.#coming = [];
    for (const known of coming) {
      if (!this.#now.includes(known) || !known.door.waitsForOurCpu?.() || this.#aside.step()) continue;
      known.backoff.missed();
      this.dismiss(known.door);
    }
  }

  /** True when calls that go on need the thread. */
  // HOT: one load for each door
  #lookOnce(): boolean {
    let goesOn = false;
    for (const attended of this.#now) {
      const served = attended.door.serve();
      if (served === 'nothing') continue;
      attended.lastCallMs = performance.now();
      this.#aside.looked(true);
      if (++attended.served >= attended.door.pace.leastServed) attended.backoff.found();
      if (served === 'goes-on') goesOn = true;
    }
    return goesOn;
  }

  #dismissIdle(): void {
    const now = performance.now();
    for (const attended of this.#now) {
      const { wakeMs, patienceMs, leastServed } = attended.door.pace;
      if (now - attended.lastCallMs <= (attended.served === 0 ? wakeMs : patienceMs)) continue;
      if (attended.served < leastServed) attended.backoff.missed();
      this.dismiss(attended.door);
    }
  }
}

const newcomer = (door: Door): Attended => ({
  ...{ door, lastCallMs: Number.NEGATIVE_INFINITY },
  ...{ served: 0, backoff: new Backoff(MOST_SKIPPED) },
});
