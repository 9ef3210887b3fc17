/**
 * A worker's attention to its register pages (iommu/abi/register-page.ts). After an access the
 * worker looks at them for some microseconds before it sleeps, because a driver seldom makes one
 * access alone. Where nothing comes, it looks less and less often.
 */
import type { RegisterPageServer } from '../../iommu/bus/register-pages.ts';
import type { Spinners } from '../../platform/spinners.ts';

/** The worker looks for so long after the last access by a page. */
const PATIENCE_MS = 0.05;
/** After an access by the kernel, its answer must first wake the kernel and then the client. */
const FIRST_PATIENCE_MS = 0.25;
/** After looks in vain, so many accesses are followed by none. */
const MOST_SKIPPED = 7;
/** Looks between two looks at the clock. */
const LOOKS = 16;

export interface AttentionParts {
  readonly pages: RegisterPageServer;
  readonly spinners: Spinners;
  /** Makes what is posted in the pages. False: there was nothing. */
  readonly serve: () => boolean;
  /** Whether something else wants the worker. */
  readonly rung: () => boolean;
}

export class Attention {
  readonly #parts: AttentionParts;
  /** The worker is attentive, and one of the spinners. */
  #on = false;
  #wanted = false;
  /** Looks in vain: 0, 1, 3, 7, … and how many are still to be skipped. */
  #vain = 0;
  #skip = 0;

  constructor(parts: AttentionParts) {
    this.#parts = parts;
  }

  /** A register access has come another way. */
  accessed(): void {
    this.#wanted = true;
  }

  /**
   * Looks at the pages, for `ms` at most. True: something came, and the worker must take a turn
   * before it sleeps.
   */
  look(ms: number): boolean {
    const { pages, spinners } = this.#parts;
    if (!this.#wanted || !pages.any()) return this.#stop();
    this.#wanted = false;
    const patience = this.#on ? PATIENCE_MS : FIRST_PATIENCE_MS;
    if (!this.#on) {
      if (--this.#skip >= 0 || !spinners.enter()) return false;
      this.#skip = 0;
      this.#on = true;
      pages.setAttentive(true);
    }
    if (this.#spin(Math.min(ms, patience))) {
      this.#wanted = true;
      return true;
    }
    if (ms >= patience) {
      this.#vain = Math.min(2 * this.#vain + 1, MOST_SKIPPED);
      this.#skip = this.#vain;
    }
    return this.#stop();
  }

  /** Looks no more. The caller serves once more, unless the worker ends. */
  end(): void {
    if (!this.#on) return;
    this.#on = false;
    this.#parts.pages.setAttentive(false);
    this.#parts.spinners.leave();
  }

  #stop(): boolean {
    if (!this.#on) return false;
    const { serve, rung } = this.#parts;
    this.end();
    // the last look; pairs with the second load in RegisterPageClient.store
    return serve() || rung();
  }

  #spin(ms: number): boolean {
    const { serve, rung } = this.#parts;
    let end = 0;
    for (;;) {
      for (let look = 0; look < LOOKS; look++) {
        if (serve()) {
          this.#vain = 0;
          return true;
        }
        if (rung()) return true;
      }
      const now = performance.now();
      if (end === 0) end = now + ms;
      else if (now >= end) return false;
    }
  }
}
