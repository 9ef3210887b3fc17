/**
 * The machine code that V8 makes of translated stores, watched by another thread: whenever it sees
 * a store, it sees the head that counts it; whenever it sees the head, it sees the entry. On x86 it
 * sees stores in the order in which they are made. Elsewhere only the death of the thread makes
 * that sure, and nobody can look.
 */
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';

import { COUNT_BITS, COUNT_MASK, ENTRY_WORDS, HartJournal, NEW, OLD } from '../../../guest/riscv/journal-layout.ts';
import { startWorker } from '../../../platform/thread.ts';
import { branchTo, encode } from './encode.ts';
import { END_AT, JOURNAL_AT, NUMBER_AT, PAGES, START_AT, type WriterInput } from './journal-order/layout.ts';

const [ZERO, A0, A1] = [0, 10, 11];
const STATES = 1500;
/** More entries than there are in a state. */
const MOST = 0x7fff;
const PATIENCE_MS = 20_000;
const NEVER = 2 ** 31 - 1;
const ADD_ONE = encode('addi', { rd: A0, rs1: A0, imm: 1 });
/** Goes so many instructions back. */
const again = (instructions: number): number => branchTo(encode('beq'), -4 * instructions);
const STORES = [ADD_ONE, encode('sd', { rs1: A1, rs2: A0 }), again(2)];
const AMOS = [
  encode('addi', { rd: A0, rs1: ZERO, imm: 1 }),
  encode('amoadd.d', { rd: ZERO, rs1: A1, rs2: A0 }),
  again(1),
];

const HEAD = JOURNAL_AT / 4 + HartJournal.word.head;
const ENTRIES = (JOURNAL_AT + HartJournal.size) / 4;

interface Seen {
  /** Looks that fell into one state. */
  looks: number;
  /** Stores that were there before their head, and heads before their entry. */
  early: number;
}

/** Looks until the writer ends. Numbers have less than 32 bits. */
function watch(words: Int32Array): Seen {
  const load = (word: number): number => Atomics.load(words, word);
  /** Whether the entry of the store of `number` is whole. */
  const told = (number: number, base: number): boolean => {
    const entry = ENTRIES + ENTRY_WORDS * ((number - base - 1) & MOST);
    return load(entry + NEW) === number && load(entry + OLD) === number - 1;
  };
  const seen: Seen = { looks: 0, early: 0 };
  const end = performance.now() + PATIENCE_MS;
  Atomics.store(words, START_AT / 4, 1);
  Atomics.notify(words, START_AT / 4);
  while (load(END_AT / 4) === 0 && performance.now() < end) {
    const first = load(HEAD);
    const counted = first & COUNT_MASK;
    const base = load(ENTRIES + OLD);
    const isWhole = told(base + counted, base);
    const number = load(NUMBER_AT / 4);
    const isCounted = (load(HEAD) & COUNT_MASK) >= number - base;
    const isTold = told(number, base);
    const isOneState = load(HEAD) >>> COUNT_BITS === first >>> COUNT_BITS;
    if (!isOneState || counted === 0 || number === base) continue;
    seen.looks++;
    if (!(isWhole && isCounted && isTold)) seen.early++;
  }
  return seen;
}

describe.runIf(process.arch === 'x64')('who looks on while translated code stores', () => {
  it.each([
    { what: 'code of a region', program: STORES, hot: 0 },
    { what: 'cold code', program: STORES, hot: NEVER },
    { what: 'AMOs', program: AMOS, hot: 0 },
  ])(
    'sees no store without its entry: $what',
    async ({ program, hot }) => {
      const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES, shared: true });
      const input: WriterInput = { memory, program, hot, states: STATES };
      const worker = startWorker('test/guest/riscv/journal-order/writer-worker', input, { name: 'writer' });
      try {
        await once(worker, 'message'); // ready
        const seen = watch(new Int32Array(memory.buffer));
        const [translated] = (await once(worker, 'message')) as [number];
        expect(translated).toBe(hot === 0 ? 1 : 0);
        expect(seen.looks).toBeGreaterThan(100);
        expect(seen.early).toBe(0);
      } finally {
        await worker.terminate();
      }
    },
    60_000,
  );
});
