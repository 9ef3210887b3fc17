/**
 * A worker's attention to its register pages (iommu/abi/register-page.ts). After an access the
 * worker looks at them for some microseconds before it sleeps, because a driver seldom makes one
 * access alone, and a wake-up costs more than that. Where nothing comes, it looks less and less
 * often.
 */
import { Backoff } from '../../platform/backoff.ts';
import { lookFor } from '../../platform/look-for.ts';
import type { Spinners } from '../../platform/spinners.ts';
import { StepAside } from '../../platform/step-aside.ts';

/** The worker looks for so long after the last access. */
const PATIENCE_MS = 0.05;
/** After looks in vain, so many accesses are followed by none. */
const MOST_SKIPPED = 7;

export interface AttentionParts {
  /** Whether there is a page to look at. */
  readonly wanted: () => boolean;
  readonly spinners: Spinners;
  /** Makes what is posted in the pages. False: there was nothing. */
  readonly serve: () => boolean;
  /** Whether something else wants the worker. */
  readonly rung: () => boolean;
}

export class Attention {
  readonly #parts: AttentionParts;
  /** The worker is one of the spinners. */
  #on = false;
  #accessed = false;
  /** The client that has woken the worker had the CPU that the worker has now. */
  #sharesCpu = false;
  /** The last look has served an access. */
  #found = false;
  /** Accesses have come since the worker began to look. */
  #served = false;
  readonly #aside = new StepAside();
  readonly #backoff = new Backoff(MOST_SKIPPED);

  constructor(parts: AttentionParts) {
    this.#parts = parts;
  }

  /** A register access has come. */
  accessed(): void {
    this.#accessed = true;
  }

  /** A client has woken the worker, and Linux lets the worker run where the client did. */
  wokenFromOurCpu(): void {
    this.#sharesCpu = true;
  }

  /**
   * Looks at the pages, for `ms` at most. True: something came, and the worker must take a turn
   * before it sleeps.
   */
  look(ms: number): boolean {
    const { wanted, spinners } = this.#parts;
    if (!this.#accessed || !wanted()) {
      this.end();
      return false;
    }
    this.#accessed = false;
    if (!this.#on) {
      const shares = this.#sharesCpu;
      this.#sharesCpu = false;
      if (this.#backoff.skips() || !spinners.enter()) return false;
      this.#on = true;
      this.#served = false;
      if (shares && !this.#aside.step()) {
        this.end();
        return false;
      }
    }
    if (this.#spin(Math.min(ms, PATIENCE_MS))) {
      this.#accessed = true;
      return true;
    }
    if (ms >= PATIENCE_MS && !this.#served) this.#backoff.missed();
    this.#aside.looked(this.#served);
    this.end();
    return false;
  }

  /** Looks no more. */
  end(): void {
    if (!this.#on) return;
    this.#on = false;
    this.#parts.spinners.leave();
  }

  #spin(ms: number): boolean {
    this.#found = false;
    const looked = lookFor(ms, this.#look);
    if (this.#found) {
      this.#served = true;
      this.#backoff.found();
      this.#aside.looked(true);
    }
    return looked;
  }

  // HOT: made once, and not a closure for each access
  readonly #look = (): boolean => {
    this.#found = this.#parts.serve();
    return this.#found || this.#parts.rung();
  };
}
