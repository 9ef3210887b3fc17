/**
 * The history of an execution, up to the order of independent steps. Each actor has a hash of its
 * steps and of the steps they depended on: for a read the last write of the word, for a write that
 * and the reads since. Two executions in which all actors have the same pasts are in the same
 * state, so what follows needs to be explored from one of them only (happens-before caching of
 * CHESS: Musuvathi and Qadeer, MSR-TR-2007-12).
 */
import { Control, type ControlBuffers, HISTORY_WORDS, MAX_ACTORS, STATE_WORDS } from './control.ts';

const EXECUTION = 0;
const WRITE = 1;
const READS = 3;

/** One round of a multiplicative hash; two with different constants make 64 bits. */
const mix = (hash: number, value: number, factor: number): number => {
  const h = Math.imul(hash ^ value, factor);
  return h ^ (h >>> 15);
};
const FACTORS = [0x85ebca6b, 0xc2b2ae35] as const;

export class History {
  readonly #words: Int32Array;
  readonly #past: number;
  readonly #entries: readonly Int32Array[];

  constructor(me: number, buffers: ControlBuffers) {
    this.#words = new Int32Array(buffers.control);
    this.#past = Control.offset.pasts / 4 + 2 * me;
    this.#entries = buffers.history.map((buffer) => new Int32Array(buffer));
  }

  /** HOT. This actor has accessed the word. */
  access(buffer: number, word: number, write: boolean): void {
    const entries = this.#entries[buffer]!;
    const at = word * HISTORY_WORDS;
    this.#renew(entries, at);
    for (let half = 0; half < 2; half++) {
      const factor = FACTORS[half as 0 | 1];
      const past = this.#past + half;
      let hash = mix(this.#words[past]!, (buffer << 24) ^ (word << 1) ^ (write ? 1 : 0), factor);
      hash = mix(hash, entries[at + WRITE + half]!, factor);
      if (write) {
        hash = mix(hash, entries[at + READS + half]!, factor);
        entries[at + WRITE + half] = hash;
        entries[at + READS + half] = 0;
      } else {
        // the order of reads is none
        entries[at + READS + half] = (entries[at + READS + half]! + hash) | 0;
      }
      this.#words[past] = hash;
    }
  }

  /** This actor has learnt a value that is no word. */
  learn(value: number): void {
    for (let half = 0; half < 2; half++) {
      const past = this.#past + half;
      this.#words[past] = mix(this.#words[past]!, value + 0x9e3779b1, FACTORS[half as 0 | 1]);
    }
  }

  /** A hash of the word's last write: the same as long as nobody writes it. */
  version(buffer: number, word: number): number {
    const entries = this.#entries[buffer]!;
    const at = word * HISTORY_WORDS;
    this.#renew(entries, at);
    return entries[at + WRITE]!;
  }

  /**
   * Stores the hash of all pasts, and of who could go on, in the first two words of the step's
   * entry.
   */
  state(states: Int32Array, step: number, runnable: number): void {
    const pasts = Control.offset.pasts / 4;
    for (let half = 0; half < 2; half++) {
      const factor = FACTORS[half as 0 | 1];
      let hash = runnable + 1;
      for (let actor = 0; actor < MAX_ACTORS; actor++) hash = mix(hash, this.#words[pasts + 2 * actor + half]!, factor);
      states[step * STATE_WORDS + half] = hash;
    }
  }

  #renew(entries: Int32Array, at: number): void {
    const execution = this.#words[Control.word.execution]!;
    if (entries[at + EXECUTION] === execution) return;
    entries.fill(0, at, at + HISTORY_WORDS);
    entries[at + EXECUTION] = execution;
  }
}
