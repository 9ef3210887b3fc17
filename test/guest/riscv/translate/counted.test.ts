/** Time that is counted by instructions: both engines take a timer's interrupt at the same one. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { CSR_MCAUSE, CSR_MCYCLE, CSR_MEPC, CSR_MIP, CSR_TIME } from '../../../../guest/riscv/csr-numbers.ts';
import { MSTATUS_FS, MSTATUS_MIE } from '../../../../guest/riscv/isa.ts';
import { encode } from '../encode.ts';
import { RAM_BASE } from '../fixture.ts';
import { ALL, registers } from '../supervisor.ts';
import { type CountedDevice, Pair } from './pair.ts';
import { randomCode } from './random-code.ts';

const CODE = 0x4000;
const HANDLER = 0x3000;
const DATA = 0x8000;
const LOG = 0xa000;
/** A load gives the instructions begun before it; a store drops the timer's interrupt. */
const DEVICE = 0x1000;
const MTIP = 1 << 7;
const INTERRUPT = 1n << 63n;

/** Interrupts every so many instructions after it was served. */
class CountedTimer implements CountedDevice {
  readonly #every: number;
  #due: number;

  constructor(every: number) {
    this.#every = every;
    this.#due = every;
  }

  options(hart: () => { readonly begun: number }, lines: Int32Array, index: number) {
    const isUp = (): boolean => hart().begun >= this.#due;
    return {
      bus: {
        load: (gpa: number) => (gpa === DEVICE ? BigInt(hart().begun) : undefined),
        store: (gpa: number) => {
          if (gpa !== DEVICE) return false;
          this.#due = hart().begun + this.#every;
          lines[index]! &= ~MTIP;
          return true;
        },
      },
      time: () => BigInt(hart().begun),
      poll: () => {
        if (isUp()) lines[index]! |= MTIP;
      },
      horizon: () => (isUp() ? Number.MAX_SAFE_INTEGER : this.#due - hart().begun),
    };
  }
}

/** x20 points to the log, x24 to the device. What traps is skipped, an interrupt is served. */
const handler = [
  encode('csrrs', { rd: 30, csr: CSR_MCAUSE }),
  encode('csrrs', { rd: 31, csr: CSR_MEPC }),
  encode('sd', { rs1: 20, rs2: 30 }),
  encode('sd', { rs1: 20, rs2: 31, imm: 8 }),
  encode('csrrs', { rd: 30, csr: CSR_TIME }),
  encode('sd', { rs1: 20, rs2: 30, imm: 16 }),
  encode('ld', { rd: 30, rs1: 24 }),
  encode('sd', { rs1: 20, rs2: 30, imm: 24 }),
  encode('addi', { rd: 20, rs1: 20, imm: 32 }),
  encode('csrrs', { rd: 30, csr: CSR_MCAUSE }),
  encode('slt', { rd: 30, rs1: 30, rs2: 0 }), // 1: an interrupt
  encode('sd', { rs1: 24 }), // also after an exception: the timer begins anew
  encode('xori', { rd: 30, rs1: 30, imm: 1 }),
  encode('slli', { rd: 30, rs1: 30, imm: 2 }),
  encode('add', { rd: 31, rs1: 31, rs2: 30 }),
  encode('csrrw', { rs1: 31, csr: CSR_MEPC }),
  encode('mret'),
];
/** What asks for the time, or depends on it. */
const asking = fc.constantFrom(
  encode('ld', { rd: 5, rs1: 24 }),
  encode('csrrs', { rd: 6, csr: CSR_TIME }),
  encode('csrrs', { rd: 7, csr: CSR_MIP }),
  encode('csrrs', { rd: 8, csr: CSR_MCYCLE }),
  encode('sd', { rs1: 24 }),
);

describe('a save between LR and SC', () => {
  it.each([
    ['keeps the reservation where time is counted by instructions', true, 0n, 9n],
    ['drops it elsewhere, as a trap does', false, 1n, 5n],
  ])('%s', (_, isCounted, failed, stored) => {
    const code = [encode('lr.d', { rd: 5, rs1: 3 }), encode('sc.d', { rd: 6, rs1: 3, rs2: 7 }), encode('jal')];
    const counted = [new CountedTimer(1000), new CountedTimer(1000)] as const;
    const state = {
      words: { [CODE]: code.map((word) => word >>> 0), [DATA]: [5, 0] },
      x: registers({ 3: BigInt(RAM_BASE + DATA), 6: 2n, 7: 9n }),
      ...{ pc: RAM_BASE + CODE, pmp: ALL },
      ...(isCounted ? { counted } : {}),
    };
    for (const hot of [0, Number.POSITIVE_INFINITY]) {
      const pair = new Pair(state, { hot });
      pair.run(1).compare();
      for (const hart of [pair.interpreted, pair.translated]) hart.restore(hart.save());
      pair.run(1).compare();
      const found = new BigUint64Array(pair.rams[1].buffer, DATA, 1)[0];
      expect([pair.translated.register(6), found]).toEqual([failed, stored]);
    }
  });
});

describe('where time is counted by instructions', () => {
  it('a run of translated code ends exactly where it has to, also before an instruction in two pages', () => {
    const half = (word: number): number => word & 0xffff;
    const [NOP, across] = [0x0001, encode('addi', { rd: 5, rs1: 5, imm: 1 })];
    const code = [encode('addi', { rd: 6, rs1: 6, imm: 1 }), NOP | (across << 16), half(across >>> 16) | (NOP << 16)];
    const at = CODE + 0xff8; // `across` begins 2 bytes before the end of the page
    const words = { [at]: [...code, encode('jal')].map((word) => word >>> 0) };
    const pair = new Pair({ words, pc: RAM_BASE + at, pmp: ALL }, { hot: Number.POSITIVE_INFINITY });
    for (let step = 0; step < 8; step++) pair.run(1).compare();
    expect(pair.interpreted.register(5)).toBe(1n);
  });

  it('the interpreter and the translator take the timer at the same instructions', () => {
    let interrupts = 0;
    fc.assert(
      fc.property(
        randomCode(40),
        fc.array(fc.tuple(fc.nat(39), asking), { maxLength: 6 }),
        fc.integer({ min: 1, max: 90 }),
        fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 3, maxLength: 8 }),
        fc.constantFrom(0, 30, Number.POSITIVE_INFINITY),
        (words, questions, every, chunks, hot) => {
          const code = [...words];
          for (const [at, word] of questions) if (at < code.length - 1) code[at] = word >>> 0;
          const counted = [new CountedTimer(every), new CountedTimer(every)] as const;
          const pair = new Pair(
            {
              words: { [CODE]: code, [HANDLER]: handler },
              x: registers({
                3: BigInt(RAM_BASE + DATA),
                4: BigInt(RAM_BASE + DATA) + 64n,
                20: BigInt(RAM_BASE + LOG),
                24: BigInt(DEVICE),
              }),
              pc: RAM_BASE + CODE,
              mtvec: BigInt(RAM_BASE + HANDLER),
              mstatus: MSTATUS_FS | MSTATUS_MIE,
              mie: MTIP,
              pmp: ALL,
              counted,
            },
            { hot },
          );
          for (const chunk of chunks) pair.run(chunk).compare();
          const causes = new BigUint64Array(pair.rams[0].buffer, LOG, 4 * 100).filter((_, i) => i % 4 === 0);
          interrupts += causes.filter((cause) => cause === (INTERRUPT | 7n)).length;
        },
      ),
      { numRuns: 50 },
    );
    expect(interrupts).toBeGreaterThan(50);
  });
});
