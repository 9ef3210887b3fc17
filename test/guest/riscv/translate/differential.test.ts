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
/** The tables between them; the upper one is Sv48's. */
const MIDDLE = 0xe000;
const UPPER = 0xf000;
const [SV39, SV48] = [8n, 9n];
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

const LOCKED = 0x80; // L, priv-isa §3.7.1
const NAPOT = 0x18;
/** pmpaddr of the page at this offset in RAM. */
const pageOf = (offset: number): bigint => (BigInt((RAM_BASE + offset) / 4096) << 10n) | 0x1ffn;
/**
 * Entries for the pages of data, of code and of two tables, which allow less than all, mostly; then
 * one for all else. `lock` is what they have beside their permissions.
 */
const pmps = (lock: number) =>
  fc
    .tuple(
      fc.array(fc.constantFrom(0, 1, 3, 5, 7), { minLength: 4, maxLength: 4 }),
      fc.constantFrom(5, 5, 5, 7, 4, 0),
      fc.array(fc.constantFrom(3, 3, 3, 1, 0), { minLength: 2, maxLength: 2 }),
    )
    .map(([data, code, tables]) => {
      const entries = [
        ...data.map((permissions, i) => [DATA + 0x1000 * i, permissions] as const),
        [CODE, code] as const,
        ...tables.map((permissions, i) => [[LEAVES, MIDDLE][i]!, permissions] as const),
      ];
      const rest = 16 - entries.length - 1;
      return {
        config: [...entries.map(([, permissions]) => NAPOT | lock | permissions), 0x1f, ...Array<number>(rest).fill(0)],
        address: [...entries.map(([offset]) => pageOf(offset)), 2n ** 54n - 1n, ...Array<bigint>(rest).fill(0n)],
      };
    });

const runs = { numRuns: 60 };
/** Whatever is met is translated; or what is met often; or nothing: all code is cold. */
const heats = fc.constantFrom(0, 30, Number.POSITIVE_INFINITY);

describe('the translator does what the interpreter does', () => {
  it.each([
    ['without floating point', 0, false, fc.constant(ALL)],
    ['with it', MSTATUS_FS, false, fc.constant(ALL)],
    ['with it and a journal', MSTATUS_FS, true, fc.constant(ALL)],
    ['with entries of PMP that are locked', MSTATUS_FS, false, pmps(LOCKED)],
  ])('in M mode, %s', (_, mstatus, journaled, protections) => {
    const all = fc.tuple(values, heats, selects, protections);
    fc.assert(
      fc.property(randomCode(50), budgets, all, (words, chunks, [values, hot, select, pmp]) => {
        const start = { values, data: BigInt(RAM_BASE + DATA), select };
        const pair = new Pair({ ...given(words, start), mstatus, journaled, pmp }, { hot });
        for (const chunk of chunks) pair.run(chunk).compare();
        expect(pair.translator.translated > 0 || hot > 0).toBe(true);
      }),
      runs,
    );
  });

  it.each([
    ['S', MODE.S, 0, false, SV39, fc.constant(ALL)],
    ['S with SUM', MODE.S, MSTATUS_SUM, false, SV39, fc.constant(ALL)],
    ['U', MODE.U, 0, false, SV39, fc.constant(ALL)],
    ['U, with a journal,', MODE.U, 0, true, SV39, fc.constant(ALL)],
    ['S, by Sv48,', MODE.S, 0, false, SV48, fc.constant(ALL)],
    ['U, by Sv48,', MODE.U, 0, false, SV48, fc.constant(ALL)],
    ['S, with PMP that allows little,', MODE.S, 0, false, SV39, pmps(0)],
    ['U, by Sv48 and with PMP that allows little,', MODE.U, 0, false, SV48, pmps(0)],
  ])('in %s mode with pages of all kinds', (_, mode, sum, journaled, scheme, protections) => {
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
        fc.tuple(heats, selects, protections),
        (words, values, chunks, kinds, [hot, select, pmp]) => {
          const state = {
            ...given(words, { values, data: 0x3f_ef80n, select }),
            pc: 0x3f_d000,
            mstatus: MSTATUS_FS | sum,
            journaled,
            pmp,
            privileged: { mode, siselect: select, satp: (scheme << 60n) | BigInt((RAM_BASE + ROOT) / 4096) },
          };
          const pair = new Pair(state, { hot });
          const own = mode === MODE.U ? U : 0;
          for (const ram of pair.rams) {
            const table = new BigUint64Array(ram.buffer, ROOT, 1024);
            table.fill(0n);
            table[0] = entry(scheme === SV48 ? UPPER : MIDDLE, V);
            new BigUint64Array(ram.buffer, UPPER, 512).fill(0n)[0] = entry(MIDDLE, V);
            new BigUint64Array(ram.buffer, MIDDLE, 512).fill(0n)[1] = entry(LEAVES, V);
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
