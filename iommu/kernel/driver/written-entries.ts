/** What a page table's writer tells of its writes: each run of entries, as it was and as it is. */
import type { PteRun } from '../../bus/pte-log.ts';

/** Pages that one entry of a level covers; level 0 is the last one. */
export const SPAN = [1, 512, 512 ** 2, 512 ** 3] as const;

export class WrittenEntries {
  readonly #words: Int32Array;
  readonly #tell: (written: PteRun) => void;
  readonly #run = { vpn: 0, count: 0, level: 0, oldLo: 0, oldHi: 0, newLo: 0, newHi: 0 };

  /** `tell` gets the same object each time. */
  constructor(words: Int32Array, tell: (written: PteRun) => void) {
    this.#words = words;
    this.#tell = tell;
  }

  /** The entry at the word `at`, the first one of a run, is about to be written. */
  before(at: number): void {
    this.#run.oldLo = this.#words[at]!;
    this.#run.oldHi = this.#words[at + 1]!;
  }

  /** `count` entries of a level have been written, from the one for vpn on, which is at `at`. */
  after(level: number, vpn: number, count: number, at: number): void {
    const run = this.#run;
    const span = SPAN[level]!;
    run.vpn = Math.floor(vpn / span) * span;
    run.count = count;
    run.level = level;
    run.newLo = this.#words[at]!;
    run.newHi = this.#words[at + 1]!;
    this.#tell(run);
  }
}
