/**
 * The bell of shared words to which one thread posts and which another one serves: a call page, a
 * register page, the channel of a mediated device. The server says in `attentive` how it hears of
 * what is posted. While that is RINGS it waits for the word `bell`. Whoever has posted something
 * and finds RINGS there makes AWAKE of it, and rings. So only the first of a burst makes a system
 * call.
 */
import { currentCpu } from '../../platform/libc/cpu.ts';
import { futexWake, type WaitedWord } from '../../platform/libc/futex.ts';

/** The server hears of nothing that is posted. */
export const AWAY = 0;
/** It looks, and will once more after it put another value there. */
export const AWAKE = 1;
/** The bell brings it. */
export const RINGS = 2;
export type Attentive = typeof AWAY | typeof AWAKE | typeof RINGS;

/** Indices of the words. */
export interface BellWords {
  /** Server: Attentive; a poster that rings turns RINGS into AWAKE. */
  readonly attentive: number;
  /** Posters add 1 and wake. */
  readonly bell: number;
  /** Poster: the CPU that it rang from. A hint: nothing depends on it. */
  readonly cpu?: number;
}

export class Bell {
  readonly #words: Int32Array;
  readonly #at: BellWords;
  readonly #shared: boolean;

  /** `shared`: between processes. */
  constructor(words: Int32Array, at: BellWords, shared: boolean) {
    this.#words = words;
    this.#at = at;
    this.#shared = shared;
  }

  /**
   * Brings the server, if it waits for that. To be called when something is posted. Returns what
   * the server said: RINGS, it was rung.
   */
  // HOT: one load while the server looks
  ring(): number {
    const words = this.#words;
    const { attentive, bell, cpu } = this.#at;
    // after what is posted; pairs with the stores in letRing and say
    const said = Atomics.load(words, attentive);
    if (said !== RINGS) return said;
    const found = Atomics.compareExchange(words, attentive, RINGS, AWAKE);
    if (found !== RINGS) return found;
    if (cpu !== undefined) words[cpu] = currentCpu();
    Atomics.add(words, bell, 1); // pairs with the load in letRing
    futexWake({ words, index: bell, shared: this.#shared });
    return found;
  }

  /** Server: it looks from here on, or hears of nothing. After AWAY it must look once more. */
  say(attentive: typeof AWAKE | typeof AWAY): void {
    Atomics.store(this.#words, this.#at.attentive, attentive); // before the last look; pairs with the load in ring
  }

  /**
   * Server: lets posters ring. It must look once more, and then wait for the bell: the word that is
   * returned.
   */
  letRing(): WaitedWord {
    const words = this.#words;
    const { attentive, bell: index } = this.#at;
    // before the word that lets posters ring; pairs with the add in ring
    const seen = Atomics.load(words, index);
    // before the last look; pairs with the exchange in ring
    Atomics.store(words, attentive, RINGS);
    return { words, index, shared: this.#shared, seen };
  }
}
