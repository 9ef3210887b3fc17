/**
 * The mutex of a container's type1 (vfio_iommu.lock). Code between two awaits has it, as nobody
 * else runs, and an await drops it; work in slices keeps it from its first slice to its last, while
 * calls on other containers go on. So whoever begins, and whoever has awaited something, enters
 * anew and looks at everything again.
 */
import { runSliced, type Sliced, type SliceOptions } from '../../../../platform/slices.ts';

/** Locks that sliced work holds now, of all containers. */
export interface HeldLocks {
  count: number;
}

export class IommuLock {
  readonly #sliceMs: number;
  readonly #heldLocks: HeldLocks;
  #held: Promise<void> | undefined;

  /** How long a slice may take; Infinity: nothing pauses. */
  constructor(sliceMs: number, heldLocks: HeldLocks) {
    this.#sliceMs = sliceMs;
    this.#heldLocks = heldLocks;
  }

  /** mutex_lock: `body` runs as soon as no sliced work holds the lock, at once if none does. */
  enter<T>(body: () => T | Promise<T>): T | Promise<T> {
    return this.#held ? this.#held.then(() => this.enter(body)) : body();
  }

  /**
   * Settles when the work that holds the lock is done, and another may have it then; undefined when
   * it is free.
   */
  get held(): Promise<void> | undefined {
    return this.#held;
  }

  /** Does work, which holds the lock. Only for whoever has it: inside enter(), before any await. */
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

/** For whom it is done: a task that enters the kernel again with each slice. */
export interface SlicedTask {
  readonly pid?: number;
  readonly enter?: () => void;
  readonly leave?: () => void;
}
