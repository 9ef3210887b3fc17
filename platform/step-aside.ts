/**
 * A thread that looks for what its partner does must not have the partner's CPU: the partner would
 * wait for the end of the look. Linux may well wake a thread on the CPU of the one that wakes it,
 * and leave both there while another CPU sleeps. Then the thread that looks goes to another CPU.
 * Nobody can tell whether that CPU is idle. If the partner does not come all the same, the thread
 * stays where it is at the next looks, at more and more of them.
 */
import { Backoff } from './backoff.ts';
import { leaveCpu } from './libc/cpu.ts';

const MOST_SKIPPED = 3;

export class StepAside {
  readonly #backoff = new Backoff(MOST_SKIPPED);
  #moved = false;

  /**
   * A thread that this one is about to look for waits for its CPU: goes to another one. False: it
   * has stayed, and need not look.
   */
  step(): boolean {
    this.#moved = !this.#backoff.skips() && leaveCpu();
    return this.#moved;
  }

  /** The look has ended; `found`: the partner has come. */
  looked(found: boolean): void {
    if (!this.#moved) return;
    this.#moved = false;
    if (found) this.#backoff.found();
    else this.#backoff.missed();
  }
}
