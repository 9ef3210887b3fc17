/** The journal of the machine, as a test of engines wants it. */
import type { StoreJournal } from '../../../guest/riscv/environment.ts';
import { AT, CLAIM, ENTRY_WORDS, HartJournal, NEW, OLD, SIZE } from '../../../guest/riscv/journal-layout.ts';
import { int32s, type SharedPart } from '../../../platform/shared.ts';
import { entriesAfter, Journal } from '../../../vmm/machine/hart-local/journal.ts';
import type { Entry } from './list-journal.ts';

/** The number of a state. */
const STATE = 5;

export class RingJournal implements StoreJournal {
  readonly #part: SharedPart;
  readonly #journal: Journal;
  closes = false;

  constructor(part: SharedPart) {
    this.#part = part;
    this.#journal = new Journal(part);
    this.#journal.follow(STATE);
  }

  get closing(): boolean {
    return this.closes || this.#journal.closing;
  }

  get room(): number {
    return this.#journal.room;
  }

  store(...entry: Parameters<StoreJournal['store']>): void {
    this.#journal.store(...entry);
  }

  withdraw(): void {
    this.#journal.withdraw();
  }

  /** The entries of stores, which are gone then. */
  take(): readonly Entry[] {
    const stores = storesIn(this.#part, STATE);
    this.#journal.follow(STATE);
    return stores.map(({ at, size, old, new: value }) => ({
      at,
      size,
      old: halves(old, size),
      new: halves(value, size),
    }));
  }
}

/** Signed, and the low one zero extended where a value has less than 32 bits. */
const halves = (value: bigint, size: number): readonly [number, number] => [
  size < 4 ? Number(value) : Number(BigInt.asIntN(32, value)),
  Number(BigInt.asIntN(32, value >> 32n)),
];

/** A store of a journal. */
export interface StoreEntry {
  readonly at: number;
  readonly size: number;
  readonly old: bigint;
  readonly new: bigint;
}

/** The stores after state `number`, in the order in which they were made. */
export function storesIn(part: SharedPart, number: number): readonly StoreEntry[] {
  const words = int32s(part);
  const value = (at: number, size: number): bigint =>
    BigInt.asUintN(8 * size, (BigInt(words[at + 1]!) << 32n) | BigInt(words[at]! >>> 0));
  return Array.from({ length: entriesAfter(part, number) }, (_, i) => {
    const entry = HartJournal.size / 4 + i * ENTRY_WORDS;
    const size = words[entry + SIZE]!;
    return { at: words[entry + AT]! >>> 0, size, old: value(entry + OLD, size), new: value(entry + NEW, size) };
  }).filter(({ size }) => size !== CLAIM);
}
