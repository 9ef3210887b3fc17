/**
 * Tells when the next frame is due. The k-th frame is due at start + k × period. So a late wake is
 * caught up with, and nothing drifts.
 */

/**
 * The largest lateness that is caught up with. A device that is later gives up whole periods. This
 * bounds the burst after the thread did not run.
 */
const MAX_LATE_NS = 100e6;

export class FramePacer {
  /** Frames per second; 0 = as fast as the device can. */
  rate = 0;
  #periodNs = 0;
  #startNs = 0;
  #frames = 0;
  #heldUntilNs = 0;

  /** Starts the pacer. The first frame is due at once. */
  start(nowNs: number): void {
    this.#startNs = nowNs;
    this.#frames = 0;
    this.#heldUntilNs = nowNs;
  }

  /** Sets the rate at once: the next frame is due one new period from now. */
  setRate(rate: number, nowNs: number): void {
    this.rate = rate;
    this.#periodNs = rate === 0 ? 0 : 1e9 / rate;
    this.#startNs = nowNs;
    this.#frames = rate === 0 ? 0 : 1;
  }

  /** The time at which the next frame is due. A time at or before `nowNs` means now. */
  dueNs(nowNs: number): number {
    if (this.#periodNs > 0) {
      const lateNs = nowNs - (this.#startNs + this.#frames * this.#periodNs);
      if (lateNs > MAX_LATE_NS) this.#frames += Math.floor((lateNs - MAX_LATE_NS) / this.#periodNs);
    }
    return Math.max(this.#startNs + this.#frames * this.#periodNs, this.#heldUntilNs);
  }

  /** Goes on to the next frame: the due one is being made. */
  advance(): void {
    if (this.#periodNs > 0) this.#frames++;
  }

  /** Makes no frame due before `untilNs`. */
  holdUntil(untilNs: number): void {
    this.#heldUntilNs = untilNs;
  }
}
