/**
 * The journal of the harts, in shared memory: what they have done since their state was last
 * published (vmm/crew/publication.ts). After the death of the process the successor takes this
 * back, and the guest does it again from that state. One thread runs all harts meanwhile, so there
 * is one order of all that they do.
 *
 * An entry is a store to RAM, or an interrupt that was claimed. It comes before what it tells. It
 * counts while the state is the published one whose number is in `head`. So the publication of the
 * next state makes all entries void at once, and no moment of a death lies between.
 */
import type { StoreJournal } from '../../../guest/riscv/environment.ts';
import { atomic32, bytes, defineShared, int32s, type SharedPart } from '../../../platform/shared.ts';

const HartJournal = defineShared('hart journal', {
  /** The hart's thread: number of the state << 16 | entries after it. Publishes the entries. */
  head: atomic32,
  pad0: bytes(60),
  /**
   * The hart's thread: number of the state after which an access outside RAM began, 0 for none.
   * Publishes kind and gpa.
   */
  accessAfter: atomic32,
  accessKind: atomic32,
  gpaLow: atomic32,
  gpaHigh: atomic32,
  pad1: bytes(48),
  // entries follow
});

/**
 * Words of an entry: offset in RAM, size, old value, new value (low halves first). A claim has size
 * 0 and, as offset, its interruptTarget.
 */
const [AT, SIZE, OLD, NEW, ENTRY_WORDS] = [0, 1, 2, 4, 6];
const CLAIM = 0;

const ENTRIES = 32768;
/**
 * A hart looks at `closing` every 2048 instructions, and none makes more than four entries; a write
 * of eip makes up to 64, and ends the slice.
 */
const MARGIN = 4 * 2048;

/** Size of the journal of one hart. */
export const JOURNAL_BYTES = HartJournal.size + ENTRIES * ENTRY_WORDS * 4;

/** The low bits of a state's number that the head has room for. */
const tagOf = (number: number): number => number & 0x7fff;

/** An access that may have reached something outside the process' memory. */
export type AccessKind = 'load' | 'store' | 'interrupt file';
const KINDS: readonly AccessKind[] = ['load', 'store', 'interrupt file'];

/** The writing side, on the hart's thread. */
export class Journal implements StoreJournal {
  readonly #words: Int32Array;
  readonly #capacity: number;
  readonly #enough: number;
  #tag = 0;
  #number = 0;
  #count = 0;
  /** Whether the hart shall return, so that its state can be published. */
  closing = false;
  /** Whether the hart has made an access outside RAM. */
  accessed = false;

  constructor(part: SharedPart) {
    this.#words = int32s(part);
    this.#capacity = Math.floor((part.size - HartJournal.size) / (4 * ENTRY_WORDS));
    this.#enough = this.#capacity - Math.min(MARGIN, this.#capacity >> 1);
  }

  /** The state of this number has been published, or is to be the next: there are no entries. */
  follow(number: number): void {
    this.#number = number;
    this.#tag = tagOf(number) << 16;
    this.#count = 0;
    this.closing = false;
    this.accessed = false;
    Atomics.store(this.#words, HartJournal.word.head, this.#tag);
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
    Atomics.store(this.#words, HartJournal.word.head, this.#tag | --this.#count);
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
    this.closing = true;
    this.accessed = true;
  }

  /** Index of the next entry, which has these words already. */
  #begin(at: number, size: number): number {
    if (this.#count === this.#capacity) throw new Error('the journal has overflown');
    const entry = HartJournal.size / 4 + this.#count * ENTRY_WORDS;
    this.#words[entry + AT] = at;
    this.#words[entry + SIZE] = size;
    return entry;
  }

  #commit(): void {
    // before the store or the clear that the entry tells of
    Atomics.store(this.#words, HartJournal.word.head, this.#tag | ++this.#count);
    if (this.#count >= this.#enough) this.closing = true;
  }
}

/** A store that was perhaps made: `old` is there again when it is undone. */
export interface StoreEntry {
  readonly at: number;
  readonly size: number;
  readonly old: bigint;
  readonly new: bigint;
}

export interface JournalContent {
  /** In the order in which they were made. */
  readonly stores: readonly StoreEntry[];
  /** Each an interruptTarget. */
  readonly claims: readonly number[];
  /** The access that had perhaps begun. */
  readonly access: { readonly kind: AccessKind; readonly gpa: number } | undefined;
}

/** What the journal of a hart says, whose process is dead, about the time after state `number`. */
export function readJournal(part: SharedPart, number: number): JournalContent {
  const words = int32s(part);
  const head = words[HartJournal.word.head]!;
  const stores: StoreEntry[] = [];
  const claims: number[] = [];
  for (let i = 0; head >>> 16 === tagOf(number) && i < (head & 0xffff); i++) {
    const entry = HartJournal.size / 4 + i * ENTRY_WORDS;
    const at = words[entry + AT]! >>> 0;
    const size = words[entry + SIZE]!;
    if (size === CLAIM) claims.push(at);
    else stores.push({ at, size, old: valueAt(words, entry + OLD), new: valueAt(words, entry + NEW) });
  }
  const { accessAfter, accessKind, gpaLow, gpaHigh } = HartJournal.word;
  if (words[accessAfter] !== number) return { stores, claims, access: undefined };
  const gpa = words[gpaHigh]! * 2 ** 32 + (words[gpaLow]! >>> 0);
  return { stores, claims, access: { kind: KINDS[words[accessKind]!]!, gpa } };
}

const valueAt = (words: Int32Array, at: number): bigint =>
  BigInt.asUintN(64, (BigInt(words[at + 1]!) << 32n) | BigInt(words[at]! >>> 0));
