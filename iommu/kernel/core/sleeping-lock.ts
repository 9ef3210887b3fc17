/**
 * A mutex that calls hold while they sleep (a kernel's struct mutex, or rw_semaphore held for
 * writing). A call that finds it free and does not sleep runs to its end at once, and no promise is
 * made.
 */
export class SleepingLock {
  #tail: Promise<unknown> | undefined;

  /**
   * Runs `body` when all earlier ones are done. Holds the lock until the promise of `body`, if any,
   * is settled.
   */
  run<T>(body: () => T | Promise<T>): T | Promise<T> {
    if (this.#tail) return this.#hold(this.#tail.then(body, body));
    const result = body();
    return result instanceof Promise ? this.#hold(result) : result;
  }

  #hold<T>(running: Promise<T>): Promise<T> {
    const tail = running
      .catch(() => undefined)
      .then(() => {
        if (this.#tail === tail) this.#tail = undefined;
      });
    this.#tail = tail;
    return running;
  }
}
