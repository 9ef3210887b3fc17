/**
 * A memory object with guarded pages. A page without a writable mapping holds a pattern; any other
 * byte in it was written by a device that had no right to. The object outlives the process that
 * maps it.
 */
import { hex } from '../../../platform/hex.ts';
import { Mapping } from '../../../platform/memory.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';
import { Violation } from '../invariants.ts';

const WORDS = PAGE_SIZE / 4;
const WORD_STEP = 0x01000193;

export interface GuardState {
  /** By page: how often the pattern was changed. */
  readonly versions: readonly number[];
  /** By page: the number of writable mappings. */
  readonly writers: readonly number[];
}

export class GuardedMemory {
  readonly fd: number;
  readonly nrPages: number;
  /** The memory as the CPU sees it. */
  readonly bytes: Uint8Array;
  readonly #words: Int32Array;
  readonly #mapping: Mapping;
  readonly #versions: Uint32Array;
  readonly #writers: Uint32Array;

  /** Without `state` every page is guarded from now on, whatever its content was. */
  constructor(fd: number, nrPages: number, state?: GuardState) {
    this.fd = fd;
    this.nrPages = nrPages;
    this.#mapping = new Mapping(fd, nrPages * PAGE_SIZE);
    this.bytes = new Uint8Array(this.#mapping.buffer, 0, nrPages * PAGE_SIZE);
    this.#words = new Int32Array(this.#mapping.buffer, 0, nrPages * WORDS);
    this.#versions = Uint32Array.from(state?.versions ?? new Array<number>(nrPages).fill(0));
    this.#writers = Uint32Array.from(state?.writers ?? new Array<number>(nrPages).fill(0));
    if (!state) this.guardAll();
  }

  save(): GuardState {
    return { versions: [...this.#versions], writers: [...this.#writers] };
  }

  /** Devices may write pages [first, end) from now on. */
  open(first: number, end: number): void {
    for (let page = first; page < end; page++) this.#writers[page]!++;
  }

  /** One writable mapping of pages [first, end) is gone. A page without any gets its pattern. */
  close(first: number, end: number): void {
    for (let page = first; page < end; page++) if (--this.#writers[page]! === 0) this.#guard(page);
  }

  /** No device may write to any page. */
  guardAll(): void {
    this.#writers.fill(0);
    for (let page = 0; page < this.nrPages; page++) this.#guard(page);
  }

  isGuarded(page: number): boolean {
    return this.#writers[page] === 0;
  }

  #guard(page: number): void {
    this.#versions[page]!++;
    let word = this.#firstWord(page);
    const end = (page + 1) * WORDS;
    for (let i = page * WORDS; i < end; i++) {
      this.#words[i] = word;
      word = (word + WORD_STEP) | 0;
    }
  }

  #firstWord(page: number): number {
    return Math.imul(page + 1, 0x9e3779b1) ^ Math.imul(this.#versions[page]!, 0x85ebca6b);
  }

  /** Checks the guarded pages of [first, end) (invariant 1), and returns how many there were. */
  check(first = 0, end = this.nrPages): number {
    let checked = 0;
    for (let page = first; page < end; page++) {
      if (this.#writers[page] !== 0) continue;
      this.#checkPage(page);
      checked++;
    }
    return checked;
  }

  #checkPage(page: number): void {
    let word = this.#firstWord(page);
    const start = page * WORDS;
    for (let i = 0; i < WORDS; i++) {
      if (this.#words[start + i] !== word) {
        const found = (this.#words[start + i]! >>> 0).toString(16);
        const offset = (i * 4).toString(16);
        throw new Violation(
          '1',
          `page ${page} of its memory is not writable by any device, and was written: 0x${found}, not ${hex(word >>> 0)}, at 0x${offset}`,
        );
      }
      word = (word + WORD_STEP) | 0;
    }
  }
}
