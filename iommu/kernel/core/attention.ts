/**
 * The kernel's attention to words that others write: call pages of clients
 * (iommu/abi/call-page.ts), and channels of mediated devices (iommu/bus/mediated-channel.ts). While
 * one of them makes one call after the other, the kernel's thread looks at its words instead of
 * waiting for its bell, its socket or its message. It looks for some microseconds after each call,
 * and lets the event loop go round in between. So who is idle costs nothing, and others wait no
 * longer than for a turn.
 */
import { Backoff } from '../../../platform/backoff.ts';
import { nextRound } from '../../../platform/next-round.ts';
import { mostSpinners } from '../../../platform/spinners.ts';
import { StepAside } from '../../../platform/step-aside.ts';
import type { Bells } from './bells.ts';
import type { Door, RestingPlace } from './door.ts';
import { wakes } from './wakes.ts';

interface Attended {
  readonly door: Door;
  lastCallMs: number;
  /** Calls that have come there since the kernel began to look. */
  served: number;
  /** The kernel looks so long for the first call. */
  firstMs: number;
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
  /** Where doors are rung while nobody looks. */
  bells: Bells | undefined;
  /** Doors can be rung there; undefined: nowhere. */
  place: () => RestingPlace | undefined = () => undefined;

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
    } else if (isBurst && !known.backoff.skips() && this.#attend(known, door.pace.wakeMs)) {
      this.#coming = [...this.#coming, known];
    }
  }

  /** The bell of this door has rung: serves its call, and looks for the next one. */
  rung(door: Door): void {
    if (this.looksAt(door) || door.serve() === 'nothing') return;
    const known = this.#known.get(door) ?? newcomer(door);
    this.#known.set(door, known);
    known.lastCallMs = performance.now();
    if (known.backoff.skips()) return;
    if (door.rangFromOurCpu?.() && !this.#aside.step()) known.backoff.missed();
    else this.#attend(known, door.pace.patienceMs);
  }

  looksAt(door: Door): boolean {
    return this.#now.some((attended) => attended.door === door);
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
    if (this.bells?.has(door)) this.bells.arm(door);
    else door.setAttentive(false);
  }

  /** False: it looks at as many doors as it can. */
  #attend(known: Attended, firstMs: number): boolean {
    if (this.#now.length >= this.#most) return false;
    known.served = 0;
    known.firstMs = firstMs;
    this.#now = [...this.#now, known];
    known.door.setAttentive(true);
    if (this.#roundComes) return true;
    this.#roundComes = true;
    nextRound(this.#round); // when this call is answered, and every other socket was looked at
    return true;
  }

  readonly #round = (): void => {
    this.#meetNewcomers();
    const end = performance.now() + ROUND_MS;
    const woken = wakes();
    let others = false;
    for (let now = 0; now < end && !others && this.#now.length > 0; now = performance.now()) {
      for (let look = 0; look < LOOKS && !others; look++) others = this.#lookOnce() || this.#isWanted(woken);
      this.#dismissIdle();
    }
    this.#roundComes = this.#now.length > 0;
    if (this.#roundComes) nextRound(this.#round);
  };

  /** Whether others need the thread: calls that were woken, or clients that ring. */
  #isWanted(woken: number): boolean {
    return wakes() !== woken || (this.bells?.any() ?? false);
  }

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
      const { patienceMs, leastServed } = attended.door.pace;
      if (now - attended.lastCallMs <= (attended.served === 0 ? attended.firstMs : patienceMs)) continue;
      if (attended.served < leastServed) attended.backoff.missed();
      this.dismiss(attended.door);
    }
  }
}

const newcomer = (door: Door): Attended => ({
  ...{ door, lastCallMs: Number.NEGATIVE_INFINITY },
  ...{ served: 0, firstMs: 0, backoff: new Backoff(MOST_SKIPPED) },
});
