/**
 * Converts the words of a step into values: numbers with the script's symbols, fds by name, errnos
 * as answers.
 */
import { SysError } from '../../../platform/errno.ts';
import { evaluate } from '../notation.ts';
import type { State } from './state.ts';

/** File offset of region R is R << 40 (VFIO_PCI_OFFSET_SHIFT). */
const REGION_SHIFT = 40n;

/**
 * A call may sleep. A real process then sleeps with its thread; a simulated process returns a
 * promise.
 */
export type Answer<T> = T | Promise<T>;

export class Words {
  readonly #state: State;

  constructor(state: State) {
    this.#state = state;
  }

  fd(word: string): number {
    return this.#state.fd(word);
  }

  number(word: string): bigint {
    return evaluate(word, (name) => this.#state.symbol(name));
  }

  /** A number small enough for arithmetic in a double: a length, a vaddr. */
  count(word: string): number {
    return Number(this.number(word));
  }

  /** A file offset, written as R:OFF or as a plain number. */
  offset(word: string): bigint {
    const match = /^(\d+):(.*)$/.exec(word);
    if (!match) return this.number(word);
    return BigInt.asUintN(64, (BigInt(match[1]!) << REGION_SHIFT) + this.number(match[2]!));
  }

  /** The first word of an answer: the call's result, or −ERRNO. */
  async status(call: () => Answer<number | bigint>): Promise<string> {
    try {
      return String(await call());
    } catch (error) {
      if (error instanceof SysError) return `-${error.code}`;
      throw error;
    }
  }
}
