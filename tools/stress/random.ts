/**
 * Seeded decisions (sfc32). An actor with the same seed decides the same, whatever the timing of
 * the machine.
 */

export type RandomState = readonly [number, number, number, number];

export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter: number;

  constructor([a, b, c, counter]: RandomState) {
    this.#a = a;
    this.#b = b;
    this.#c = c;
    this.#counter = counter;
  }

  /** A stream of its own for each list of words. */
  static of(...words: readonly (number | string)[]): Random {
    let a = 0x9e3779b9;
    let b = 0x243f6a88;
    for (const char of words.join('\0')) {
      const code = char.codePointAt(0)!;
      a = Math.imul(a ^ code, 0x85ebca6b);
      b = Math.imul(b ^ (a >>> 13) ^ code, 0xc2b2ae35);
    }
    const random = new Random([a, b, a ^ b, 1]);
    for (let i = 0; i < 12; i++) random.next();
    return random;
  }

  /** A whole number in [0, 2^32). */
  next(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** A whole number in [0, end). */
  below(end: number): number {
    return Math.floor((this.next() / 2 ** 32) * end);
  }

  /** A whole number in [first, last]. */
  between(first: number, last: number): number {
    return first + this.below(last - first + 1);
  }

  chance(probability: number): boolean {
    return this.next() < probability * 2 ** 32;
  }

  /** A random element; undefined for an empty list. */
  pick<T>(list: readonly T[]): T | undefined {
    return list.length === 0 ? undefined : list[this.below(list.length)];
  }

  /** One of `choices`, each with a probability in proportion to its weight. */
  weighted<T>(choices: readonly (readonly [number, T])[]): T {
    let left = this.below(choices.reduce((sum, [weight]) => sum + weight, 0));
    for (const [weight, choice] of choices) {
      if (left < weight) return choice;
      left -= weight;
    }
    throw new RangeError('no choices');
  }

  /** Random bytes. */
  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.next());
  }

  save(): RandomState {
    return [this.#a, this.#b, this.#c, this.#counter];
  }
}
