/**
 * The mutex of a container's type1 (vfio_iommu.lock). Code between two awaits has the lock, because
 * no other code runs then; an await drops it. Work in slices keeps the lock from its first slice to
 * its last, while calls on other containers go on. Code that begins, or that has awaited something,
 * must therefore enter the lock again and test everything again.
 */
import { runSliced, type Sliced, type SliceOptions } from '../../../../platform/slices.ts';

/** How many locks sliced work holds now, over all containers. */
export interface HeldLocks {
  count: number;
}

export class IommuLock {
  readonly #sliceMs: number;
  readonly #heldLocks: HeldLocks;
  #held: Promise<void> | undefined;

  /** `sliceMs` is how long a slice may take. With Infinity no work pauses. */
  constructor(sliceMs: number, heldLocks: HeldLocks) {
    this.#sliceMs = sliceMs;
    this.#heldLocks = heldLocks;
  }

  /** mutex_lock: `body` runs as soon as no sliced work holds the lock, at once if none does. */
  enter<T>(body: () => T | Promise<T>): T | Promise<T> {
    return this.#held ? this.#held.then(() => this.enter(body)) : body();
  }

  /**
   * Settles when the work that holds the lock is done; other work may then have it. Undefined when
   * the lock is free.
   */
  get held(): Promise<void> | undefined {
    return this.#held;
  }

  /**
   * Does work, and holds the lock for it. Only a caller that has the lock may use it: inside
   * enter(), before any await.
   */
  run<T>(work: Sliced<T>, task?: SlicedTask): T | Promise<T> {
    const options: SliceOptions = { sliceMs: this.#sliceMs, owner: task?.pid, resume: task?.enter, pause: task?.leave };
    const result = runSliced(work, options);
    if (!(result instanceof Promise)) return result;
    this.#heldLocks.count++;
    const done = (): void => {
      this.#heldLocks.count--;
      this.#held = undefined;
    };
    this.#held = result.then(done, done);
    return result;
  }
}

/** The task for which the work is done. It enters the kernel again with each slice. */
export interface SlicedTask {
  readonly pid?: number;
  readonly enter?: () => void;
  readonly leave?: () => void;
}
