/**
 * The journal of the harts, in shared memory: what they have done since their state was last
 * published (vmm/crew/publication.ts). After the death of the process the successor takes this
 * back, and the guest does it again from that state. One thread runs all harts meanwhile, so there
 * is one order of all that they do. Translated code writes entries of its stores itself.
 *
 * An entry counts while the state is the published one whose number is in `head`. So the
 * publication of the next state makes all entries void at once, and no moment of a death lies
 * between.
 */
import type { StoreJournal } from '../../../guest/riscv/environment.ts';
import {
  AT,
  CLAIM,
  COUNT_BITS,
  COUNT_MASK,
  ENTRY_BYTES,
  ENTRY_WORDS,
  HartJournal,
  LEAST_INSTRUCTIONS,
  MOST_OF_INSTRUCTION,
  NEW,
  OLD,
  SIZE,
} from '../../../guest/riscv/journal-layout.ts';
import { int32s, type SharedPart } from '../../../platform/shared.ts';

/** The low bits of a state's number that the head has room for. */
const tagOf = (number: number): number => number & 0x7fff;

/** An access that may have reached something outside the process' memory. */
export type AccessKind = 'load' | 'store' | 'interrupt file';
const KINDS: readonly AccessKind[] = ['load', 'store', 'interrupt file'];

/** The writing side, on the hart's thread. */
export class Journal implements StoreJournal {
  readonly #words: Int32Array;
  readonly #capacity: number;
  readonly #least: number;
  #number = 0;
  #accessed = false;

  constructor(part: SharedPart) {
    this.#words = int32s(part);
    this.#capacity = Math.floor((part.size - HartJournal.size) / ENTRY_BYTES);
    this.#least = Math.min(MOST_OF_INSTRUCTION * LEAST_INSTRUCTIONS, this.#capacity >> 1);
  }

  /** Whether the hart has made an access outside RAM. */
  get accessed(): boolean {
    return this.#accessed;
  }

  /** Whether the hart shall return, so that its state can be published. */
  get closing(): boolean {
    return this.#accessed || this.#left <= this.#least;
  }

  /** So many instructions have room; at least 1, after which it closes. */
  get room(): number {
    return Math.max(Math.floor(this.#left / MOST_OF_INSTRUCTION), 1);
  }

  /** Entries that have room. */
  get #left(): number {
    return this.#capacity - this.#count;
  }

  /** The head has the count, because translated code counts, too. */
  get #head(): number {
    return this.#words[HartJournal.word.head]!;
  }

  get #count(): number {
    return this.#head & COUNT_MASK;
  }

  /** The state of this number has been published, or is to be the next: there are no entries. */
  follow(number: number): void {
    this.#number = number;
    this.#accessed = false;
    Atomics.store(this.#words, HartJournal.word.head, tagOf(number) << COUNT_BITS);
    Atomics.store(this.#words, HartJournal.word.accessAfter, 0);
  }

  /** HOT while publishing. */
  store(at: number, size: 1 | 2 | 4 | 8, oldLow: number, oldHigh: number, newLow: number, newHigh: number): void {
    const words = this.#words;
    const entry = this.#begin(at, size);
    words[entry + OLD] = oldLow;
    words[entry + OLD + 1] = oldHigh;
    words[entry + NEW] = newLow;
    words[entry + NEW + 1] = newHigh;
    this.#commit();
  }

  withdraw(): void {
    // Before the entry is used again: it is not to be seen half written.
    Atomics.store(this.#words, HartJournal.word.head, this.#head - 1);
  }

  /** The pending bit that this interruptTarget names is about to be cleared. */
  claim(target: number): void {
    this.#begin(target, CLAIM);
    this.#commit();
  }

  /** An access outside RAM is about to be made. The state is to be published right after it. */
  access(kind: AccessKind, gpa: number): void {
    const { accessAfter, accessKind, gpaLow, gpaHigh } = HartJournal.word;
    this.#words[accessKind] = KINDS.indexOf(kind);
    this.#words[gpaLow] = gpa;
    this.#words[gpaHigh] = Math.floor(gpa / 2 ** 32);
    Atomics.store(this.#words, accessAfter, this.#number); // before the access
    this.#accessed = true;
  }

  /** Index of the next entry, which has these words already. */
  #begin(at: number, size: number): number {
    const count = this.#count;
    if (count >= this.#capacity) throw new Error('the journal has overflown');
    const entry = HartJournal.size / 4 + count * ENTRY_WORDS;
    this.#words[entry + AT] = at;
    this.#words[entry + SIZE] = size;
    return entry;
  }

  #commit(): void {
    // before the store or the clear that the entry tells of
    Atomics.store(this.#words, HartJournal.word.head, this.#head + 1);
  }
}

export interface JournalContent {
  /** Each an interruptTarget. */
  readonly claims: readonly number[];
  /** The access that had perhaps begun. */
  readonly access: { readonly kind: AccessKind; readonly gpa: number } | undefined;
}

/** So many entries came after state `number`. */
export function entriesAfter(part: SharedPart, number: number): number {
  const head = int32s(part)[HartJournal.word.head]!;
  return head >>> COUNT_BITS === tagOf(number) ? head & COUNT_MASK : 0;
}

/**
 * What the journal of a hart says, whose process is dead, about the time after state `number`; its
 * stores are undone in place (vmm/crew/undo.ts).
 */
export function readJournal(part: SharedPart, number: number): JournalContent {
  const words = int32s(part);
  const claims: number[] = [];
  const count = entriesAfter(part, number);
  for (let i = 0; i < count; i++) {
    const entry = HartJournal.size / 4 + i * ENTRY_WORDS;
    if (words[entry + SIZE] === CLAIM) claims.push(words[entry + AT]! >>> 0);
  }
  const { accessAfter, accessKind, gpaLow, gpaHigh } = HartJournal.word;
  if (words[accessAfter] !== number) return { claims, access: undefined };
  const gpa = words[gpaHigh]! * 2 ** 32 + (words[gpaLow]! >>> 0);
  return { claims, access: { kind: KINDS[words[accessKind]!]!, gpa } };
}
