/**
 * When the next frame is due: the k-th one at start + k × period, so that a late wake is caught up
 * with and nothing drifts.
 */

/**
 * What is later than this is given up, in whole periods: the largest burst after the thread did not
 * run.
 */
const MAX_LATE_NS = 100e6;

export class FramePacer {
  /** Frames per second; 0 = as fast as it can. */
  rate = 0;
  #periodNs = 0;
  #startNs = 0;
  #frames = 0;
  #heldUntilNs = 0;

  /** The first frame is due at once. */
  start(nowNs: number): void {
    this.#startNs = nowNs;
    this.#frames = 0;
    this.#heldUntilNs = nowNs;
  }

  /** Takes effect at once: the next frame is due one new period from now. */
  setRate(rate: number, nowNs: number): void {
    this.rate = rate;
    this.#periodNs = rate === 0 ? 0 : 1e9 / rate;
    this.#startNs = nowNs;
    this.#frames = rate === 0 ? 0 : 1;
  }

  /** When the next frame is due; at or before `nowNs`: now. */
  dueNs(nowNs: number): number {
    if (this.#periodNs > 0) {
      const lateNs = nowNs - (this.#startNs + this.#frames * this.#periodNs);
      if (lateNs > MAX_LATE_NS) this.#frames += Math.floor((lateNs - MAX_LATE_NS) / this.#periodNs);
    }
    return Math.max(this.#startNs + this.#frames * this.#periodNs, this.#heldUntilNs);
  }

  /** The due frame is being made. */
  advance(): void {
    if (this.#periodNs > 0) this.#frames++;
  }

  /** No frame before `untilNs`. */
  holdUntil(untilNs: number): void {
    this.#heldUntilNs = untilNs;
  }
}
