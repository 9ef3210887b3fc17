/** The shared words of the bench and its echo thread. */
import { atomic32, bytes, defineShared } from '../../../platform/shared.ts';

export const EchoWords = defineShared('echo', {
  question: atomic32, // written by the bench
  pad: bytes(60),
  answer: atomic32, // written by the echo thread: the question's value
});

export interface EchoInput {
  readonly words: SharedArrayBuffer;
  /** Looks at the word all the time, instead of sleeping on it. */
  readonly spins: boolean;
}

/** The bench gives an answer up after so many looks, in case both threads have one CPU. */
export const MOST_SPINS = 1e6;
