/** How main sleeps in the pause of an update: until another thread has written a number. */

interface Awaited {
  readonly words: Int32Array;
  readonly index: number;
  /** Whoever writes it notifies. Other numbers may be written before. */
  readonly value: number;
}

/** Sleeps until the word has the value, at most so long. Whether it has. */
export function sleepUntil({ words, index, value }: Awaited, withinMs: number): boolean {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const seen = Atomics.load(words, index); // pairs with the writer's store
    if (seen === value) return true;
    const left = deadline - performance.now();
    if (left <= 0) return false;
    Atomics.wait(words, index, seen, left);
  }
}
