/**
 * A lock in shared memory, for the short register sequences of a unit that several threads may run.
 */

const FREE = 0;
const HELD = 1;
const CONTENDED = 2;

/**
 * A thread keeps the lock for microseconds, or (command queue) up to a fence's time-out. A thread
 * that keeps it longer was terminated inside. The lock is then taken over, because the data it
 * protects is valid after every single store.
 */
const TAKE_OVER_MS = 5000;

/** Runs `body` with the lock `words[index]` held. */
export function withLock<T>(words: Int32Array, index: number, body: () => T): T {
  acquire(words, index);
  try {
    return body();
  } finally {
    // Pairs with the compareExchange in acquire.
    if (Atomics.exchange(words, index, FREE) === CONTENDED) Atomics.notify(words, index, 1);
  }
}

function acquire(words: Int32Array, index: number): void {
  // pairs with the exchange in withLock
  if (Atomics.compareExchange(words, index, FREE, HELD) === FREE) return;
  const deadline = performance.now() + TAKE_OVER_MS;
  while (Atomics.exchange(words, index, CONTENDED) !== FREE) {
    const left = deadline - performance.now();
    if (left <= 0) return;
    Atomics.wait(words, index, CONTENDED, left); // woken by withLock
  }
}
