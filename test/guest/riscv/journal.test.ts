import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { Hart } from '../../../guest/riscv/hart.ts';
import { MSTATUS_FS } from '../../../guest/riscv/isa.ts';
import { createHart, emptyBus, RAM_BASE, RAM_SIZE } from './fixture.ts';
import { bytesOf, type Entry, ListJournal } from './list-journal.ts';
import { instruction } from './random-words.ts';

/** Vitest compares element by element, in milliseconds. */
const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

const DATA = RAM_SIZE / 2;
const LINES = new Int32Array(new SharedArrayBuffer(4));

/** A hart in front of `words`; x3 and x4 point to data that is not zero. */
function hartWith(words: readonly number[]): { hart: Hart; ram: Uint8Array } {
  const buffer = new SharedArrayBuffer(RAM_SIZE);
  const ram = new Uint8Array(buffer);
  for (let i = 0; i < ram.length; i++) ram[i] = (i * 7) & 0xff;
  new Uint32Array(buffer).set(words);
  const hart = new Hart({
    ...{ hartId: 0, ram: buffer, ramBase: RAM_BASE, bus: emptyBus },
    ...{ lines: LINES, lineIndex: 0, time: () => 0n },
  });
  const state = hart.save();
  const x = state.x.map((_, i) => BigInt(i) * 0x1234_5678_9abcn);
  x[2] = BigInt(RAM_BASE + DATA);
  x[3] = BigInt(RAM_BASE + DATA + 64);
  hart.restore({ ...state, pc: RAM_BASE, x, mstatus: MSTATUS_FS });
  return { hart, ram };
}

describe('a hart with a journal', () => {
  it('does what a hart without one does, and tells each store before it makes it', () => {
    fc.assert(
      fc.property(fc.array(instruction(), { minLength: 1, maxLength: 60 }), (words) => {
        const plain = hartWith(words);
        const journaled = hartWith(words);
        const before = journaled.ram.slice();
        const strange: Entry[] = [];
        const journal = new ListJournal((entry) => {
          const { at, size, old } = entry;
          const there = journaled.ram.slice(at, at + size);
          if (bytesOf(old).subarray(0, size).join() !== there.join()) strange.push(entry);
        });
        journaled.hart.journalTo(journal);

        plain.hart.run(words.length);
        journaled.hart.run(words.length);

        // an SC that fails has told what its LR had read, and withdraws that
        expect(strange.filter((entry) => journal.entries.includes(entry))).toEqual([]);
        expect(journaled.hart.save()).toEqual(plain.hart.save());
        expect(sameBytes(journaled.ram, plain.ram)).toBe(true);
        for (const { at, size, new: value } of journal.entries.slice(-1)) {
          expect(journaled.ram.slice(at, at + size)).toEqual(bytesOf(value).subarray(0, size));
        }
        journal.undo(journaled.ram);
        expect(sameBytes(journaled.ram, before)).toBe(true);
      }),
      { numRuns: 150, examples: [[[0x1001b2af, 0x000180a3, 0x1801b2af]]] },
    );
  });

  it('withdraws the store of an SC that failed', () => {
    const { hart, ram } = createHart({
      program: '1005b52f  lr.d a0, (a1)\n18c5b6af  sc.d a3, a2, (a1)',
      registers: { a1: BigInt(RAM_BASE + 0x100), a2: 9n },
    });
    const journal = new ListJournal();
    hart.journalTo(journal);
    hart.run(1);
    ram.setUint8(0x100, 1); // another thread
    hart.run(1);

    expect([journal.withdrawn, journal.entries]).toEqual([1, []]);
  });

  it.each([
    ['load', '0005a503  lw a0, 0(a1)'],
    ['store', '00a5a023  sw a0, 0(a1)'],
  ])('asks right after a %s outside RAM whether to go on', (_, access) => {
    const journal = new ListJournal();
    const seen = (): void => {
      journal.closing = true;
    };
    const { hart, get } = createHart({
      program: `${access}\n00160613  addi a2, a2, 1`,
      registers: { a1: 0x1000n },
      bus: {
        load: () => {
          seen();
          return 0n;
        },
        store: () => {
          seen();
          return true;
        },
      },
    });
    hart.journalTo(journal);

    expect(hart.run(100)).toBe('budget');
    expect(get('a2')).toBe(0n);
    journal.closing = false;
    hart.run(1);
    expect(get('a2')).toBe(1n);
  });

  it('executes one instruction at a time where code lies outside RAM', () => {
    const journal = new ListJournal();
    const { hart, get } = createHart({
      bus: {
        load: () => {
          journal.closing = true;
          return 0x0505n; // c.addi a0, 1
        },
        store: () => false,
      },
    });
    hart.restore({ ...hart.save(), pc: 0x1000 });
    hart.journalTo(journal);
    hart.run(100);

    expect(get('a0')).toBe(1n);
  });

  it('keeps its journal over a reset and a restore, until it is taken away', () => {
    const program = '00a5b023  sd a0, 0(a1)';
    const { hart, set } = createHart({ program });
    const journal = new ListJournal();
    hart.journalTo(journal);
    const store = (): void => {
      hart.reset(RAM_BASE, 0n, 0n);
      set({ a1: BigInt(RAM_BASE + 0x100) });
      hart.run(1);
    };
    store();
    expect(journal.entries).toHaveLength(1);
    hart.journalTo(undefined);
    store();
    expect(journal.entries).toHaveLength(1);
  });
});
