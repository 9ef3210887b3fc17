import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import * as csrs from '../../../../guest/riscv/csr-numbers.ts';
import * as isa from '../../../../guest/riscv/isa.ts';
import { branchTo, encode, jumpTo } from '../encode.ts';
import { RAM_BASE } from '../fixture.ts';
import { ALL, MODE, registers } from '../supervisor.ts';
import { Pair } from './pair.ts';

const CODE = 0x4000;
const M_HANDLER = 0x3000;
const S_HANDLER = 0x3800;
const DATA = 0x8000;

/** Goes on behind what trapped, and where it was interrupted. */
const handler = (epc: number, cause: number, xret: string, between: readonly number[] = []): number[] => [
  ...between,
  encode('csrrs', { rd: 31, csr: cause }),
  branchTo(encode('blt', { rs1: 31 }), 16),
  encode('csrrs', { rd: 31, csr: epc }),
  encode('addi', { rd: 31, rs1: 31, imm: 4 }),
  encode('csrrw', { rs1: 31, csr: epc }),
  encode(xret),
];
const onMachine = (between?: readonly number[]): number[] =>
  handler(csrs.CSR_MEPC, csrs.CSR_MCAUSE, 'mret', between).map((word) => word >>> 0);
const onSupervisor = (between?: readonly number[]): number[] =>
  handler(csrs.CSR_SEPC, csrs.CSR_SCAUSE, 'sret', between).map((word) => word >>> 0);

/** x5 to x7 point into the code, x8 to nothing; x9 to x12 are bits of CSRs. */
const places = fc.constantFrom(5, 6, 7, 5, 6, 7, 8);
const bits = fc.constantFrom(9, 10, 11, 12);
const changes = fc.constantFrom('csrrw', 'csrrs', 'csrrc');
const { CSR_MSTATUS, CSR_SSTATUS, CSR_MIE, CSR_SIE, CSR_MIDELEG, CSR_MEDELEG, CSR_MEPC, CSR_SEPC } = csrs;
const instruction = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(encode('ecall'), encode('mret'), encode('sret')) },
  {
    weight: 3,
    arbitrary: fc
      .tuple(places, fc.constantFrom(CSR_MEPC, CSR_SEPC))
      .map(([rs1, csr]) => encode('csrrw', { rd: 13, rs1, csr })),
  },
  {
    weight: 3,
    arbitrary: fc
      .tuple(changes, bits, fc.constantFrom(CSR_MSTATUS, CSR_SSTATUS, CSR_MSTATUS, CSR_MIE, CSR_SIE))
      .map(([name, rs1, csr]) => encode(name, { rd: 13, rs1, csr })),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(
        changes,
        bits,
        fc.constantFrom(CSR_MIDELEG, CSR_MEDELEG, csrs.CSR_MSCRATCH, csrs.CSR_SSCRATCH, csrs.CSR_MTVAL),
      )
      .map(([name, rs1, csr]) => encode(name, { rd: 14, rs1, csr })),
  },
  { weight: 2, arbitrary: fc.constantFrom(encode('ld', { rd: 15, rs1: 3 }), encode('fadd.d', { rd: 1, rs1: 2 })) },
  { weight: 2, arbitrary: fc.constant(encode('addi', { rd: 16, rs1: 16, imm: 1 })) },
);
const code = (maxLength: number) => fc.array(instruction, { minLength: 1, maxLength });

describe('traps and their returns', () => {
  it('go from mode to mode as the interpreter does, whatever is delegated, enabled and pending', () => {
    const setting = fc.record({
      mode: fc.constantFrom(MODE.U, MODE.S, MODE.M),
      mpp: fc.constantFrom(MODE.U, MODE.S, MODE.M),
      values: fc.array(fc.bigInt({ min: 0n, max: (1n << 24n) - 1n }), { minLength: 4, maxLength: 4 }),
      mstatus: fc.integer({ min: 0, max: (1 << 24) - 1 }),
      delegated: fc.integer({ min: 0, max: 0xffff }),
      enabled: fc.constantFrom(0, isa.IRQ_MASK, 1 << isa.IRQ_S_SOFT, 1 << isa.IRQ_M_SOFT),
      pending: fc.constantFrom(0, 0, 0, 1 << isa.IRQ_M_SOFT, 1 << isa.IRQ_S_SOFT, isa.IRQ_MASK),
    });
    const chunks = fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 4, maxLength: 12 });
    const heats = fc.constantFrom(0, 30, Number.POSITIVE_INFINITY);
    fc.assert(
      fc.property(
        fc.tuple(code(30), code(3), code(3)),
        setting,
        chunks,
        heats,
        (
          [words, inMachine, inSupervisor],
          { mode, mpp, values, mstatus, delegated, enabled, pending },
          budgets,
          hot,
        ) => {
          const program = [...words, jumpTo(encode('jal'), -4 * words.length)].map((word) => word >>> 0);
          const at = (k: number): bigint => BigInt(RAM_BASE + CODE + 4 * (k % program.length));
          const [x9, x10, x11, x12] = values as [bigint, bigint, bigint, bigint];
          const pair = new Pair(
            {
              words: { [CODE]: program, [M_HANDLER]: onMachine(inMachine), [S_HANDLER]: onSupervisor(inSupervisor) },
              x: registers({
                ...{ 3: BigInt(RAM_BASE + DATA), 5: at(0), 6: at(7), 7: at(11), 8: 1n << 60n },
                ...{ 9: x9, 10: x10, 11: x11, 12: x12 },
              }),
              pc: RAM_BASE + CODE,
              mstatus: mstatus & isa.MSTATUS_MASK & ~isa.MSTATUS_MPP,
              mtvec: BigInt(RAM_BASE + M_HANDLER) | BigInt(mstatus & 1),
              mie: enabled,
              pmp: ALL,
              privileged: {
                ...{ mode, mpp, medeleg: delegated & isa.DELEGABLE, mideleg: delegated & isa.IRQ_MASK_S },
                stvec: BigInt(RAM_BASE + S_HANDLER),
              },
            },
            { hot },
          );
          pair.lines.fill(pending);
          for (const budget of budgets) pair.run(budget).compare();
        },
      ),
      { numRuns: 300 },
    );
  });

  it.each([
    ['of M mode', MODE.M, 0],
    ['of S mode, to M mode', MODE.S, 0],
    ['of S mode, to S mode', MODE.S, 1 << 9],
    ['of U mode, to M mode', MODE.U, 0],
    ['of U mode, to S mode', MODE.U, 1 << 8],
  ])('are not the interpreter’s business: an ECALL %s', (_, mode, medeleg) => {
    const words = { [CODE]: [encode('ecall'), jumpTo(encode('jal'), -4) >>> 0], [M_HANDLER]: onMachine() };
    const privileged = { mode, medeleg, stvec: BigInt(RAM_BASE + S_HANDLER) };
    const pair = new Pair({
      words: { ...words, [S_HANDLER]: onSupervisor() },
      ...{ pc: RAM_BASE + CODE, mtvec: BigInt(RAM_BASE + M_HANDLER), pmp: ALL, privileged },
    });
    pair.run(100).compare(); // all is translated then
    const before = pair.translator.interpreted;
    pair.run(8000).compare();
    expect(pair.translator.interpreted - before).toBeLessThan(10);
  });

  it('let an interrupt in that waits for them', () => {
    const [MIE, MPIE] = [isa.MSTATUS_MIE, isa.MSTATUS_MPIE];
    const off = encode('csrrci', { rs1: MIE, csr: CSR_MSTATUS });
    const stay = encode('csrrs', { rs1: 6, csr: CSR_MSTATUS }); // in M mode
    const back = [encode('csrrw', { rs1: 5, csr: CSR_MEPC }), encode('mret')];
    const pair = new Pair({
      words: { [CODE]: [off, stay, ...back], [M_HANDLER]: [encode('jal')] },
      x: registers({ 5: BigInt(RAM_BASE + CODE), 6: BigInt(isa.MSTATUS_MPP) }),
      ...{ pc: RAM_BASE + CODE, pmp: ALL, mstatus: MPIE },
      ...{ mtvec: BigInt(RAM_BASE + M_HANDLER), mie: 1 << isa.IRQ_M_SOFT },
    });
    pair.run(101).compare(); // off again
    pair.lines.fill(1 << isa.IRQ_M_SOFT);
    pair.run(10).compare();
    expect([pair.translated.pc, pair.translated.save().mepc]).toEqual([RAM_BASE + M_HANDLER, BigInt(RAM_BASE + CODE)]);
  });
});
