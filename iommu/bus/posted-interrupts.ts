/**
 * The sides of device workers and kernel of an interrupt page (iommu/abi/interrupt-page.ts). They
 * trust nothing there: a count that a client has made up is cut off.
 */
import { InterruptPage } from '../abi/interrupt-page.ts';

/** The most signals of one vector that are made up for at a time. */
const MOST_SIGNALS = 4096;

const { awake, posted, counts } = InterruptPage.word;

/**
 * Device worker: posts an interrupt of `vector` in the page whose words begin at `base`. Returns
 * how often its eventfd must be signalled instead: 0, the interrupt is posted.
 */
export function postInterrupt(words: Int32Array, base: number, vector: number): number {
  if (Atomics.load(words, base + awake) === 0) return 1;
  const word = base + posted + (vector >>> 5);
  const bit = 1 << (vector & 31);
  Atomics.add(words, base + counts + vector, 1);
  Atomics.or(words, word, bit); // pairs with the exchange in InterruptPageClient.take
  // The thread may have looked for the last time before that: it puts 0 first, and then looks.
  if (Atomics.load(words, base + awake) !== 0) return 0;
  if ((Atomics.and(words, word, ~bit) & bit) === 0) return 0; // it has looked after that
  return takePosted(words, base, vector);
}

/** Takes the interrupts of `vector` out of the page; returns how many. */
export function takePosted(words: Int32Array, base: number, vector: number): number {
  return Math.min(Atomics.exchange(words, base + counts + vector, 0) >>> 0, MOST_SIGNALS);
}
