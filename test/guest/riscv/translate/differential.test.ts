import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { MSTATUS_FS, MSTATUS_SUM } from '../../../../guest/riscv/isa.ts';
import { encode } from '../encode.ts';
import { RAM_BASE } from '../fixture.ts';
import { ALL, MODE, PTE, registers } from '../supervisor.ts';
import { type Given, Pair } from './pair.ts';
import { randomCode } from './random-code.ts';

const CODE = 0x4000;
const HANDLER = 0x3000;
const DATA = 0x8000;
const ROOT = 0xc000;
const LEAVES = 0xd000;
const MEPC = 0x341;

/** Goes on behind the instruction that trapped. */
const handler = [
  encode('csrrs', { rd: 31, csr: MEPC }),
  encode('addi', { rd: 31, rs1: 31, imm: 4 }),
  encode('csrrw', { rs1: 31, csr: MEPC }),
  encode('mret'),
];

/** Corners of what an address, a sign or a count can be. */
const value = fc.oneof(
  fc.constantFrom(0n, 1n, -1n, 1n << 63n, (1n << 63n) - 1n, 0x7fff_ffffn, -0x8000_0000n, 0xffff_ffffn),
  fc.constantFrom(BigInt(RAM_BASE + DATA + 0xff9), BigInt(RAM_BASE + 0xfffc), BigInt(RAM_BASE) - 3n),
  fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }),
);
const values = fc.array(value, { minLength: 8, maxLength: 8 });
const budgets = fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 4, maxLength: 12 });

/** What mireg and sireg are: eidelivery, eip0 and eie0 of an interrupt file. */
const selects = fc.constantFrom(0x70, 0x80, 0xc0);

interface Start {
  readonly values: readonly bigint[];
  readonly data: bigint;
  readonly select: number;
}

function given(words: readonly number[], { values, data, select }: Start): Given {
  const x = Object.fromEntries(values.map((each, i) => [5 + i, each]));
  return {
    miselect: select,
    privileged: { siselect: select },
    words: { [CODE]: words, [HANDLER]: handler },
    x: registers({ 3: data, 4: data + 64n, ...x }),
    pc: RAM_BASE + CODE,
    mtvec: BigInt(RAM_BASE + HANDLER),
    pmp: ALL,
  };
}

const runs = { numRuns: 60 };
/** Whatever is met is translated; or what is met often; or nothing: all code is cold. */
const heats = fc.constantFrom(0, 30, Number.POSITIVE_INFINITY);

describe('the translator does what the interpreter does', () => {
  it.each([
    ['without floating point', 0, false],
    ['with it', MSTATUS_FS, false],
    ['with it and a journal', MSTATUS_FS, true],
  ])('in M mode, %s', (_, mstatus, journaled) => {
    fc.assert(
      fc.property(randomCode(50), values, budgets, heats, selects, (words, values, chunks, hot, select) => {
        const start = { values, data: BigInt(RAM_BASE + DATA), select };
        const pair = new Pair({ ...given(words, start), mstatus, journaled }, { hot });
        for (const chunk of chunks) pair.run(chunk).compare();
        expect(pair.translator.translated > 0 || hot > 0).toBe(true);
      }),
      runs,
    );
  });

  it.each([
    ['S', MODE.S, 0, false],
    ['S with SUM', MODE.S, MSTATUS_SUM, false],
    ['U', MODE.U, 0, false],
    ['U, with a journal,', MODE.U, 0, true],
  ])('in %s mode with pages of all kinds', (_, mode, sum, journaled) => {
    const { V, R, W, X, U, A, D } = PTE;
    const entry = (offset: number, flags: number): bigint =>
      (BigInt((RAM_BASE + offset) / 4096) << 10n) | BigInt(flags);
    const flags = fc.constantFrom(V | R | W | A | D, V | R | A, V | R | W, V | R | W | X | A | D | U, 0, V | X | A);
    fc.assert(
      fc.property(
        randomCode(50),
        values,
        budgets,
        fc.array(flags, { minLength: 4, maxLength: 4 }),
        heats,
        selects,
        (words, values, chunks, kinds, hot, select) => {
          const state = {
            ...given(words, { values, data: 0x3f_ef80n, select }),
            pc: 0x3f_d000,
            mstatus: MSTATUS_FS | sum,
            journaled,
            privileged: { mode, siselect: select, satp: (8n << 60n) | BigInt((RAM_BASE + ROOT) / 4096) },
          };
          const pair = new Pair(state, { hot });
          const own = mode === MODE.U ? U : 0;
          for (const ram of pair.rams) {
            const table = new BigUint64Array(ram.buffer, ROOT, 1024);
            table.fill(0n);
            table[0] = entry(ROOT + 0x2000, V);
            new BigUint64Array(ram.buffer, ROOT + 0x2000, 512).fill(0n)[1] = entry(LEAVES, V);
            const leaves = new BigUint64Array(ram.buffer, LEAVES, 512);
            leaves[509] = entry(CODE, V | R | X | A | own);
            for (const [i, each] of kinds.entries())
              leaves[(510 + i) & 511] = entry(DATA + 0x1000 * (i ^ 1), each | own);
          }
          for (const chunk of chunks) pair.run(chunk).compare();
        },
      ),
      runs,
    );
  });
});
