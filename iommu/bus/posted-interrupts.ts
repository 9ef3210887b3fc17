/**
 * The sides of device workers and kernel of an interrupt page (iommu/abi/interrupt-page.ts). They
 * trust nothing there: a count that a client has made up is cut off.
 */
import { AWAY, InterruptPage, RUNS, SLEEPS } from '../abi/interrupt-page.ts';

/** The most signals of one vector that are made up for at a time. */
const MOST_SIGNALS = 4096;

const { thread, posted, counts } = InterruptPage.word;

/** Wakes the threads that sleep on a word by futex(2): an index in `words`. */
export type WakeWord = (word: number) => void;

/**
 * Device worker: posts an interrupt of `vector` in the page whose words begin at `base`. Returns
 * how often its eventfd must be signalled instead: 0, the interrupt is posted.
 */
export function postInterrupt(words: Int32Array, base: number, vector: number, wake: WakeWord): number {
  if (Atomics.load(words, base + thread) === AWAY) return 1;
  const word = base + posted + (vector >>> 5);
  const bit = 1 << (vector & 31);
  Atomics.add(words, base + counts + vector, 1);
  Atomics.or(words, word, bit); // pairs with the exchange in InterruptPageClient.take
  // The thread may have looked for the last time before that: it says what it does, then looks.
  switch (Atomics.compareExchange(words, base + thread, SLEEPS, RUNS)) {
    case SLEEPS:
      wake(base + thread); // the word is another one: whoever is about to sleep does not
      return 0;
    case AWAY:
      if ((Atomics.and(words, word, ~bit) & bit) === 0) return 0; // it has looked after that
      return takePosted(words, base, vector);
    default:
      return 0;
  }
}

/** Takes the interrupts of `vector` out of the page; returns how many. */
export function takePosted(words: Int32Array, base: number, vector: number): number {
  return Math.min(Atomics.exchange(words, base + counts + vector, 0) >>> 0, MOST_SIGNALS);
}
