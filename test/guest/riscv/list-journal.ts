/** A journal of stores that keeps them as a list. */
import type { StoreJournal } from '../../../guest/riscv/environment.ts';

export interface Entry {
  readonly at: number;
  readonly size: number;
  readonly old: readonly [number, number];
  readonly new: readonly [number, number];
}

/** Keeps what it hears; `looks` is called before each store. */
export class ListJournal implements StoreJournal {
  readonly entries: Entry[] = [];
  withdrawn = 0;
  closing = false;
  readonly room = 2048;
  readonly #looks: (entry: Entry) => void;

  constructor(looks: (entry: Entry) => void = () => {}) {
    this.#looks = looks;
  }

  store(at: number, size: 1 | 2 | 4 | 8, oldLow: number, oldHigh: number, newLow: number, newHigh: number): void {
    const low = size < 4 ? newLow & ((1 << (8 * size)) - 1) : newLow; // bits above are nobody's
    const entry = { at, size, old: [oldLow, oldHigh], new: [low, newHigh] } as const;
    this.entries.push(entry);
    this.#looks(entry);
  }

  withdraw(): void {
    this.withdrawn++;
    this.entries.pop();
  }

  /** All entries, which are gone then. */
  take(): readonly Entry[] {
    return this.entries.splice(0);
  }

  /** The old bytes, the last ones first, into the RAM. */
  undo(ram: Uint8Array): void {
    for (const { at, size, old } of this.entries.toReversed()) ram.set(bytesOf(old).subarray(0, size), at);
  }
}

/** Of a value in halves. */
export const bytesOf = (halves: readonly [number, number]): Uint8Array =>
  new Uint8Array(Int32Array.from(halves).buffer);
