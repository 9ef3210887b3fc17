import { describe, expect, it } from 'vitest';

import type { HartState } from '../../../guest/riscv/state.ts';
import { createHart, execute, type FixtureOptions, RAM_BASE } from './fixture.ts';

const HANDLER = RAM_BASE + 0x200;
const MIE = 1 << 3;
const MPIE = 1 << 7;

/** A hart with mtvec at a handler that is all nops, and the CSRs given. */
function prepared(program: string, csrs: Partial<HartState> = {}, options: FixtureOptions = {}) {
  const fixture = createHart({ ...options, program, registers: { a0: 1n, a1: 0x8000_1001n } });
  for (let at = 0x200; at < 0x300; at += 4) fixture.ram.setUint32(at, 0x0000_0013, true);
  fixture.hart.restore({ ...fixture.hart.save(), mtvec: BigInt(HANDLER), ...csrs });
  return fixture;
}

describe('synchronous exceptions (priv-isa §3.1.14–§3.1.16)', () => {
  it.each([
    ['00000073  ecall', 11n, 0n],
    ['00100073  ebreak', 3n, 0x8000_0000n],
    ['9002  c.ebreak', 3n, 0x8000_0000n],
    ['ffffffff  .word 0xffffffff', 2n, 0xffff_ffffn],
    ['00000053  .word 0x00000053', 2n, 0x53n],
    ['0000  .half 0x0000', 2n, 0n],
    ['6081  .half 0x6081', 2n, 0x6081n],
    ['04059513  .word 0x04059513', 2n, 0x0405_9513n],
    ['80b50533  .word 0x80b50533', 2n, 0x80b5_0533n],
    ['0000700f  .word 0x0000700f', 2n, 0x700fn],
    ['00057503  .word 0x00057503', 2n, 0x57503n],
    ['00a5a52f  amoadd.w a0, a0, (a1)', 6n, 0x8000_1001n],
    ['1005b52f  lr.d a0, (a1)', 4n, 0x8000_1001n],
    ['18a5a52f  sc.w a0, a0, (a1)', 6n, 0x8000_1001n],
    ['00053503  ld a0, 0(a0)', 5n, 1n],
    ['00a52023  sw a0, 0(a0)', 7n, 1n],
  ])('%s traps with cause %i and mtval %i, to mtvec even if vectored', (program, cause, mtval) => {
    const { hart, get, step } = prepared(program, { mtvec: BigInt(HANDLER + 1), mstatus: MIE });
    step();
    const { mepc, mcause, mtval: value, mstatus } = hart.save();
    expect({ pc: hart.pc, mepc, mcause, mtval: value, mstatus }).toEqual({
      pc: HANDLER,
      mepc: BigInt(RAM_BASE),
      mcause: cause,
      mtval,
      mstatus: MPIE,
    });
    expect(get('a0')).toBe(1n);
  });

  it('faults on the fetch after a jump to nowhere, with mepc and mtval there', () => {
    const { hart, step } = prepared('00050067  jr a0');
    step();
    step();
    const { mepc, mcause, mtval } = hart.save();
    expect([hart.pc, mcause, mepc, mtval]).toEqual([HANDLER, 1n, 0n, 0n]);
  });

  it('faults on a jump to an address beyond what a hart can fetch from, with the full target in mepc', () => {
    const { hart } = execute('001580e7  jalr ra, 1(a1)', { a1: 2n ** 63n });
    expect([hart.save().mcause, hart.save().mepc, hart.save().mtval]).toEqual([1n, 2n ** 63n, 2n ** 63n]);
  });

  it('names the half that cannot be fetched of an instruction at the end of RAM', () => {
    const { hart, ram, step } = prepared('');
    ram.setUint16(ram.byteLength - 2, 0x0003, true);
    hart.restore({ ...hart.save(), pc: RAM_BASE + ram.byteLength - 2 });
    step();
    const { mcause, mepc, mtval } = hart.save();
    expect([mcause, mepc, mtval]).toEqual([1n, 0x8000_fffen, 0x8001_0000n]);
  });
});

describe('interrupts (priv-isa §3.1.9)', () => {
  it.each([
    ['software', 3, 0x8000_0000_0000_0003n],
    ['timer', 7, 0x8000_0000_0000_0007n],
    ['external', 11, 0x8000_0000_0000_000bn],
  ])('takes a %s interrupt before the next instruction', (_, irq, mcause) => {
    const { hart, lines, get, step } = prepared('00500513  addi a0, zero, 5', { mie: 0x888, mstatus: MIE });
    lines[0] = 1 << irq;
    step();
    const state = hart.save();
    expect([state.mcause, state.mepc, state.mtval, state.mstatus]).toEqual([mcause, BigInt(RAM_BASE), 0n, MPIE]);
    expect(get('a0')).toBe(1n);
  });

  it.each([
    ['mstatus.MIE is 0', { mie: 0x888, mstatus: 0 }],
    ['its bit in mie is 0', { mie: 0x088, mstatus: MIE }],
  ])('does not take one while %s', (_, csrs) => {
    const { lines, get, step } = prepared('00500513  addi a0, zero, 5', csrs);
    lines[0] = 1 << 11;
    step();
    expect(get('a0')).toBe(5n);
  });

  it.each([
    ['external before software before timer', 0x888, 11n],
    ['software before timer', 0x088, 3n],
  ])('takes %s', (_, pending, irq) => {
    const { hart, lines, step } = prepared('00000013  nop', { mie: 0x888, mstatus: MIE });
    lines[0] = pending;
    step();
    expect(hart.save().mcause & 0xffn).toBe(irq);
  });

  it('goes to base + 4 × cause when mtvec is vectored (priv-isa §3.1.7)', () => {
    const { hart, lines } = prepared('00000013  nop', { mtvec: BigInt(HANDLER + 1), mie: 0x880, mstatus: MIE });
    lines[0] = 1 << 7;
    hart.run(1); // the trap, and the first instruction of the handler
    expect(hart.pc).toBe(HANDLER + 4 * 7 + 4);
  });

  it('is taken at once when a CSR write enables it', () => {
    const { hart, lines, get } = prepared('30046073  csrsi mstatus, 8\n00500513  addi a0, zero, 5', { mie: 0x800 });
    lines[0] = 1 << 11;
    hart.run(2);
    expect(get('a0')).toBe(1n);
    expect(hart.save().mepc).toBe(BigInt(RAM_BASE + 4));
  });

  it('is taken at once when a store to a device raises it', () => {
    const lines = new Int32Array(new SharedArrayBuffer(4));
    const raise = () => {
      lines[0] = 1 << 3;
      return true;
    };
    const program = '00b02023  sw a1, 0(zero)\n00500513  addi a0, zero, 5';
    const bus = { load: () => undefined, store: raise };
    const fixture = prepared(program, { mie: 0x8, mstatus: MIE }, { bus, lines });
    fixture.hart.run(2);
    expect(fixture.get('a0')).toBe(1n);
    expect(fixture.hart.save().mepc).toBe(BigInt(RAM_BASE + 4));
  });
});

describe('MRET (priv-isa §3.3.2)', () => {
  it.each([
    ['on', MPIE, MIE | MPIE],
    ['off', 0, MPIE],
  ])('returns to mepc with interrupts %s again', (_, before, after) => {
    const { hart, step } = prepared('30200073  mret', { mepc: 0x8000_0300n, mstatus: before });
    step();
    expect([hart.pc, hart.save().mstatus]).toEqual([0x8000_0300, after]);
  });

  it('faults on a return to an address beyond what a hart can fetch from', () => {
    const { hart, step } = prepared('30200073  mret', { mepc: 2n ** 60n });
    step();
    expect([hart.pc, hart.save().mcause, hart.save().mtval]).toEqual([HANDLER, 1n, 2n ** 60n]);
  });
});

describe('WFI (priv-isa §3.3.3)', () => {
  const program = '10500073  wfi\n00500513  addi a0, zero, 5';

  it('comes back and stays waiting until an enabled interrupt is pending', () => {
    const { hart, lines, get } = prepared(program, { mie: 0x800 });
    expect(hart.run(100)).toBe('wfi');
    lines[0] = 1 << 7;
    expect(hart.run(100)).toBe('wfi');
    expect(get('a0')).toBe(1n);
    lines[0] = 1 << 11;
    hart.run(1);
    expect(get('a0')).toBe(5n);
  });

  it('does not wait if one is pending already, also with mstatus.MIE = 0', () => {
    const { hart, lines, get } = prepared(program, { mie: 0x800 });
    lines[0] = 1 << 11;
    expect(hart.run(2)).toBe('budget');
    expect(get('a0')).toBe(5n);
  });

  it('is over when the interrupt is taken: mepc is the instruction after it', () => {
    const { hart, lines } = prepared(program, { mie: 0x800, mstatus: MIE });
    hart.run(10);
    lines[0] = 1 << 11;
    hart.run(1);
    expect(hart.save().waiting).toBe(false);
    expect(hart.save().mepc).not.toBe(BigInt(RAM_BASE));
  });
});

describe('the budget of run', () => {
  it('is exact', () => {
    const { hart } = prepared('a001  c.j .');
    expect(hart.run(1234)).toBe('budget');
    expect(hart.save().mcycle).toBe(1234n);
  });
});
