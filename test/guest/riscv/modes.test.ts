import { describe, expect, it } from 'vitest';

import { encode } from './encode.ts';
import { RAM_BASE } from './fixture.ts';
import { M_HANDLER, MODE, registers, S_HANDLER, supervisor, trapOf } from './supervisor.ts';

const SIE = 1 << 1;
const MIE = 1 << 3;
const SPIE = 1 << 5;
const MPIE = 1 << 7;
const SPP = 1 << 8;
const MPRV = 1 << 17;
const TVM = 1 << 20;
const TW = 1 << 21;
const TSR = 1 << 22;
const BASE = BigInt(RAM_BASE);
const read = (csr: number) => encode('csrrs', { rd: 10, csr });
const write = (csr: number) => encode('csrrw', { rs1: 11, csr });
const SATP = 0x180;
const STCE = 1n << 63n;

describe('which mode may execute what (priv-isa §2.1, §3.1.6.5, §3.3)', () => {
  it.each([
    ['mret in S', encode('mret'), MODE.S, 0, true],
    ['sret in S', encode('sret'), MODE.S, 0, false],
    ['sret in S under TSR', encode('sret'), MODE.S, TSR, true],
    ['sret in U', encode('sret'), MODE.U, 0, true],
    ['sret in M under TSR', encode('sret'), MODE.M, TSR, false],
    ['wfi in S', encode('wfi'), MODE.S, 0, false],
    ['wfi in S under TW', encode('wfi'), MODE.S, TW, true],
    ['wfi in U', encode('wfi'), MODE.U, 0, true],
    ['sfence.vma in S', encode('sfence.vma'), MODE.S, 0, false],
    ['sfence.vma in S under TVM', encode('sfence.vma'), MODE.S, TVM, true],
    ['sfence.vma in M under TVM', encode('sfence.vma'), MODE.M, TVM, false],
    ['sfence.vma in U', encode('sfence.vma'), MODE.U, 0, true],
    ['satp in S', read(SATP), MODE.S, 0, false],
    ['satp in S under TVM', read(SATP), MODE.S, TVM, true],
    ['satp in M under TVM', read(SATP), MODE.M, TVM, false],
    ['satp in U', read(SATP), MODE.U, 0, true],
    ['mscratch in S', read(0x340), MODE.S, 0, true],
    ['sscratch in U', read(0x140), MODE.U, 0, true],
    ['cycle in S without mcounteren', read(0xc00), MODE.S, 0, true],
    ['stimecmp in S without menvcfg.STCE', read(0x14d), MODE.S, 0, true],
    ['stimecmp in M', read(0x14d), MODE.M, 0, false],
  ])('%s', (_, word, mode, mstatus, illegal) => {
    const fixture = supervisor({ words: [word], mstatus, privileged: { mode, sepc: BASE + 4n } });
    fixture.step();
    expect(fixture.hart.save().mcause === 2n).toBe(illegal);
  });

  it.each([
    ['S with mcounteren', MODE.S, 1, 0, false],
    ['U with mcounteren only', MODE.U, 1, 0, true],
    ['U with scounteren only', MODE.U, 0, 1, true],
    ['U with both', MODE.U, 1, 1, false],
  ])('cycle in %s (§3.1.11, §10.1.5)', (_, mode, mcounteren, scounteren, illegal) => {
    const fixture = supervisor({ words: [read(0xc00)], mcounteren, privileged: { mode, scounteren } });
    fixture.step();
    expect(fixture.hart.save().mcause === 2n).toBe(illegal);
  });
});

describe('traps go to M mode or to S mode (priv-isa §3.1.8)', () => {
  const ecall = encode('ecall');

  it.each([
    ['U, delegated', MODE.U, 1 << 8, MODE.S, 8n],
    ['U, not delegated', MODE.U, 1 << 9, MODE.M, 8n],
    ['S, delegated', MODE.S, 1 << 9, MODE.S, 9n],
    ['S, not delegated', MODE.S, 0, MODE.M, 9n],
    ['M', MODE.M, 0xb3ff, MODE.M, 11n],
  ])('an ecall from %s', (_, mode, medeleg, to, cause) => {
    const fixture = supervisor({ words: [ecall], privileged: { mode, medeleg } });
    fixture.step();
    expect(trapOf(fixture)).toEqual({ mode: to, cause, tval: 0n, epc: BASE });
    expect(fixture.hart.save().privileged?.mode).toBe(to);
  });

  it('an exception in M mode stays there, whatever medeleg says', () => {
    const fixture = supervisor({ words: [encode('ebreak')], privileged: { mode: MODE.M, medeleg: 0xb3ff } });
    fixture.step();
    expect(trapOf(fixture)).toEqual({ mode: MODE.M, cause: 3n, tval: BASE, epc: BASE });
  });

  it('keeps mode and enable of S in SPP and SPIE, and sret brings them back', () => {
    const fixture = supervisor({ words: [ecall], mstatus: SIE, privileged: { medeleg: 1 << 9 } });
    fixture.ram.setInt32(S_HANDLER - RAM_BASE, encode('sret'), true);
    fixture.step();
    expect(fixture.hart.save().mstatus).toBe(SPP | SPIE);
    fixture.step();
    const after = fixture.hart.save();
    expect([after.mstatus, after.privileged?.mode, fixture.hart.pc]).toEqual([SIE | SPIE, MODE.S, RAM_BASE]);
  });

  it('keeps U in SPP, too', () => {
    const fixture = supervisor({ words: [ecall], mstatus: SPP, privileged: { mode: MODE.U, medeleg: 1 << 8 } });
    fixture.step();
    expect(fixture.hart.save().mstatus & SPP).toBe(0);
  });

  it('mret goes to MPP, which becomes U, and ends MPRV', () => {
    const privileged = { mode: MODE.M, mpp: MODE.S };
    const fixture = supervisor({ words: [encode('mret')], mstatus: MPIE | MPRV, mepc: BASE + 0x40n, privileged });
    fixture.step();
    const { mstatus, privileged: after } = fixture.hart.save();
    expect([mstatus, after?.mode, after?.mpp, fixture.hart.pc]).toEqual([MIE | MPIE, MODE.S, MODE.U, RAM_BASE + 0x40]);
  });

  it('mret to M keeps MPRV', () => {
    const fixture = supervisor({ words: [encode('mret')], mstatus: MPRV, privileged: { mode: MODE.M, mpp: MODE.M } });
    fixture.step();
    expect(fixture.hart.save().mstatus).toBe(MPRV | MPIE);
  });
});

const NOP = encode('addi');
const irq = (n: number) => (1n << 63n) | BigInt(n);

describe('interrupts of S mode (priv-isa §3.1.9, §10.1.3)', () => {
  const delegated = { mideleg: 0x222 };

  it.each([
    ['in S with SIE', MODE.S, SIE, delegated, MODE.S],
    ['in S without SIE', MODE.S, 0, delegated, undefined],
    ['in U, whatever SIE', MODE.U, 0, delegated, MODE.S],
    ['in M, never', MODE.M, SIE | MIE, delegated, undefined],
    ['in S, not delegated', MODE.S, 0, {}, MODE.M],
    ['in M, not delegated, with MIE', MODE.M, MIE, {}, MODE.M],
    ['in M, not delegated, without MIE', MODE.M, 0, {}, undefined],
  ])('one that software has set is taken %s', (_, mode, mstatus, delegation, to) => {
    const fixture = supervisor({ words: [NOP], mstatus, mie: 2, privileged: { mode, pending: 2, ...delegation } });
    fixture.hart.run(1);
    const handler = to === undefined ? undefined : { mode: to, cause: irq(1), tval: 0n, epc: BASE };
    expect(trapOf(fixture)).toEqual(handler);
  });

  it('those for M mode come first', () => {
    const fixture = supervisor({
      words: [NOP],
      mstatus: SIE,
      mie: 0x222,
      privileged: { pending: 0x222, mideleg: 0x2 },
    });
    fixture.hart.run(1);
    expect(trapOf(fixture)).toMatchObject({ mode: MODE.M, cause: irq(9) });
  });

  it('sip and sie show the delegated ones, and sip takes SSIP only', () => {
    const words = [write(0x144), write(0x104), read(0x144), encode('csrrs', { rd: 12, csr: 0x104 })];
    const { hart, get } = supervisor({ words, x: registers({ 11: -1n }), privileged: { mideleg: 0x22 } });
    hart.run(4);
    expect([get('a0'), get('a2'), hart.save().mie]).toEqual([2n, 0x22n, 0x22]);
  });

  it('setting a bit of mip makes no software interrupt of a line that is up', () => {
    const words = [encode('csrrsi', { rs1: 2, csr: 0x344 }), read(0x344)];
    const fixture = supervisor({ words, privileged: { mode: MODE.M } });
    fixture.lines[0] = 1 << 9;
    fixture.hart.run(2);
    fixture.lines[0] = 0;
    expect([fixture.get('a0'), fixture.hart.save().privileged?.pending]).toEqual([0x202n, 2]);
  });

  it('a vectored stvec adds 4 × cause', () => {
    const fixture = supervisor({
      words: [NOP],
      mstatus: SIE,
      mie: 2,
      privileged: { pending: 2, ...delegated, stvec: BigInt(S_HANDLER + 1) },
    });
    fixture.ram.setInt32(S_HANDLER + 4 - RAM_BASE, NOP, true);
    fixture.hart.run(1); // the trap, and the first instruction of the handler
    expect(fixture.hart.pc).toBe(S_HANDLER + 8);
  });
});

describe('Sstc', () => {
  it('raises STIP from stimecmp on, while menvcfg.STCE is set', () => {
    let now = 99n;
    const privileged = { stimecmp: 100n, menvcfg: STCE, mideleg: 0x20, pending: 0x20 };
    const fixture = supervisor({
      words: [read(0x144), NOP, NOP],
      mstatus: SIE,
      mie: 0x20,
      privileged,
      time: () => now,
    });
    fixture.hart.run(1);
    expect(fixture.get('a0')).toBe(0n);
    now = 100n;
    fixture.hart.run(1);
    expect(trapOf(fixture)).toMatchObject({ mode: MODE.S, cause: irq(5) });
  });

  it('tells when a WFI must end', () => {
    const privileged = { stimecmp: 100n, menvcfg: STCE, mideleg: 0x20 };
    expect(supervisor({ mie: 0x20, privileged }).hart.deadline()).toBe(100n);
    expect(supervisor({ mie: 0, privileged }).hart.deadline()).toBeUndefined();
    expect(supervisor({ mie: 0x20, privileged: { ...privileged, menvcfg: 0n } }).hart.deadline()).toBeUndefined();
  });

  it('is for S mode with STCE and mcounteren.TM', () => {
    const words = [write(0x14d), read(0x14d)];
    const { hart, get } = supervisor({
      words,
      mcounteren: 2,
      x: registers({ 11: 77n }),
      privileged: { menvcfg: STCE },
    });
    hart.run(2);
    expect(get('a0')).toBe(77n);
  });
});

describe('a state in the middle of S mode', () => {
  it('is the same after a restore', () => {
    const fixture = supervisor({ words: [encode('ecall')], privileged: { medeleg: 1 << 9, satp: 5n, pending: 2 } });
    fixture.step();
    const state = fixture.hart.save();
    const other = supervisor();
    other.hart.restore(state);
    expect(other.hart.save()).toEqual(state);
    expect(M_HANDLER).not.toBe(fixture.hart.pc);
  });
});
