import { afterEach, describe, expect, it, vi } from 'vitest';

import * as csrs from '../../../../guest/riscv/csr-numbers.ts';
import { IRQ_M_SOFT, MSTATUS_FS, MSTATUS_MIE } from '../../../../guest/riscv/isa.ts';
import { branchTo, encode } from '../encode.ts';
import { RAM_BASE, RAM_SIZE } from '../fixture.ts';
import { ALL, MODE, PTE, registers } from '../supervisor.ts';
import { Pair } from './pair.ts';

const FENCE_I = encode('fence.i');
const SFENCE_VMA = encode('sfence.vma');
const DATA = 0x8000;

/** `jal x0` by so many words. */
const jump = (words: number): number => {
  const offset = 4 * words;
  return (
    encode('jal') |
    (offset & 0xff000) |
    (((offset >> 11) & 1) << 20) |
    (((offset >> 1) & 1023) << 21) |
    (offset < 0 ? 1 << 31 : 0)
  );
};

const addi = (imm: number): number => encode('addi', { rd: 10, rs1: 10, imm });

const ROOT = 0xc000;
const LEAVES = 0xd000;
const { V, R, W, X, A, D } = PTE;
const entry = (offset: number, flags: number): bigint => (BigInt((RAM_BASE + offset) / 4096) << 10n) | BigInt(flags);

/** In S mode, with code at 0x20_0000, and the tables at 0x20_8000. */
function paged(words: Readonly<Record<number, readonly number[]>>, x: ReturnType<typeof registers>) {
  const satp = (8n << 60n) | BigInt((RAM_BASE + ROOT) / 4096);
  const pair = new Pair({ words, pc: 0x20_0000, x, pmp: ALL, privileged: { mode: MODE.S, satp } });
  for (const ram of pair.rams) {
    new BigUint64Array(ram.buffer, ROOT, 1)[0] = entry(ROOT + 0x2000, V);
    new BigUint64Array(ram.buffer, ROOT + 0x2000, 2)[1] = entry(LEAVES, V);
    const leaves = new BigUint64Array(ram.buffer, LEAVES, 9);
    leaves[0] = entry(0, V | R | X | A);
    leaves[1] = entry(DATA, V | R | W | A | D);
    leaves[8] = entry(LEAVES, V | R | W | A | D);
  }
  return pair;
}

describe('code that changes', () => {
  /** x11 points to the ADDI, x12 is the new one. */
  const loop = (...between: number[]) => [
    encode('sw', { rs1: 11, rs2: 12 }),
    ...between,
    addi(1),
    jump(-2 - between.length),
  ];
  const x = (at: number) => registers({ 11: BigInt(RAM_BASE + 4 * at), 12: BigInt(addi(100)) });

  it('is new after a FENCE.I', () => {
    const pair = new Pair({ words: { 0: loop(FENCE_I) }, x: x(2) });
    pair.run(400).compare();
    expect(pair.translated.register(10)).toBe(BigInt(100 * 100));
  });

  it('is new after a FENCE.I, wherever more regions are in use than are compared at once', () => {
    // calls of 40 functions by a register, a region each; the first one is changed
    const call = (k: number): number[] => [
      encode('addi', { rd: 7, rs1: 13, imm: 8 * k }),
      encode('jalr', { rd: 1, rs1: 7 }),
    ];
    const functions = Array.from({ length: 40 }, () => [addi(1), encode('jalr', { rs1: 1 })]).flat();
    const store = encode('sw', { rs1: 11, rs2: 12 });
    const body = [FENCE_I, ...Array.from({ length: 40 }, (_, k) => call(k)).flat(), store];
    const at = BigInt(RAM_BASE + 512);
    const pair = new Pair({
      words: { 0: [...body, jump(-body.length)], 512: functions },
      x: registers({ 11: at, 12: BigInt(addi(100)), 13: at }),
    });
    pair
      .run(1 + 4 * 40 + 2)
      .run(1 + 4 * 40)
      .compare();
    expect(pair.translator.translated).toBeGreaterThan(40);
    expect(pair.translated.register(10)).toBe(40n + 39n + 100n);
  });

  it('may be old before', () => {
    const pair = new Pair({ words: { 0: [addi(1), jump(-1)] } });
    pair.run(100);
    for (const ram of pair.rams) new DataView(ram.buffer).setInt32(0, addi(100), true); // a device's DMA
    pair.run(100);
    expect([pair.interpreted.register(10), pair.translated.register(10)]).toEqual([50n + 5000n, 100n]);
  });

  it('is new after a reset, and after a restore', () => {
    const pair = new Pair({ words: { 0: [addi(1), jump(-1)] } });
    pair.run(100);
    for (const ram of pair.rams) new DataView(ram.buffer).setInt32(0, addi(100), true);
    for (const hart of [pair.interpreted, pair.translated]) hart.reset(RAM_BASE, 0n, 0n);
    pair.run(100).compare();
    for (const ram of pair.rams) new DataView(ram.buffer).setInt32(0, addi(7), true);
    for (const hart of [pair.interpreted, pair.translated]) hart.restore({ ...hart.save(), pc: RAM_BASE });
    pair.run(100).compare();
    expect(pair.translated.register(10)).toBe(5350n);
  });
});

describe('code that a device stores', () => {
  const FUNCTIONS = 512;
  const FLAG = 0x8000;
  const function_ = (k: number): number => FUNCTIONS + 8 * k;

  /** A driver: it looks for a flag each time, executes FENCE.I when that has changed, and calls. */
  function driver(functions: number): Readonly<Record<number, readonly number[]>> {
    const waits = [encode('ld', { rd: 5, rs1: 11 }), branchTo(encode('beq', { rs1: 5, rs2: 6 }), 12)];
    const heard = [FENCE_I, encode('addi', { rd: 6, rs1: 5 })];
    // by a register: so each function is a region of its own
    const call = (k: number): number[] => [
      encode('addi', { rd: 7, rs1: 12, imm: 8 * k }),
      encode('jalr', { rd: 1, rs1: 7 }),
    ];
    const calls = Array.from({ length: functions }, (_, k) => call(k)).flat();
    const bodies = Array.from({ length: functions }, () => [addi(1), encode('jalr', { rs1: 1 })]).flat();
    const body = [...waits, ...heard, ...calls];
    return { 0: [...body, jump(-body.length)], [FUNCTIONS]: bodies, [FLAG]: [0, 0] };
  }

  it.each([
    ['in M mode, few regions', 1, false],
    ['in M mode, more regions than are compared at once', 40, false],
    ['on pages, few regions', 1, true],
    ['on pages, more regions than are compared at once', 40, true],
  ])('is new after a FENCE.I: %s', (_, functions, isPaged) => {
    const words = driver(functions);
    const [code, flag] = isPaged ? [0x20_0000, 0x20_1000] : [RAM_BASE, RAM_BASE + FLAG];
    const x = registers({ 11: BigInt(flag), 12: BigInt(code + FUNCTIONS) });
    const pair = isPaged ? paged(words, x) : new Pair({ words, x });
    const round = 3 + 4 * functions;
    pair.run(20 * round).compare();
    expect(pair.translator.translated).toBeGreaterThan(functions);
    for (const ram of pair.rams) {
      const view = new DataView(ram.buffer);
      for (const k of new Set([0, functions - 1])) view.setInt32(function_(k), addi(100), true);
      view.setBigInt64(FLAG, 1n, true);
    }
    pair.run(2 + round).compare();
    for (let i = 0; i < 20; i++) pair.run(round).compare();
    const changed = Math.min(functions, 2);
    expect(pair.translated.register(10)).toBe(BigInt(20 * functions + 21 * (100 * changed + functions - changed)));
  });
});

describe('a journal', () => {
  const LOOP = [encode('sd', { rs1: 11, rs2: 10 }), addi(1), jump(-2)];
  const x = registers({ 11: BigInt(RAM_BASE + DATA) });

  it('hears of each store of translated code, from when it is given until it is taken away', () => {
    const pair = new Pair({ words: { 0: LOOP }, x });
    pair.run(300).compare();
    pair.journal(true);
    pair.run(300);
    const [interpreted, translated] = pair.journals.map((journal) => journal.take());
    expect(translated).toHaveLength(100);
    expect(translated!.at(-1)).toEqual({ at: DATA, size: 8, old: [198, 0], new: [199, 0] });
    expect(translated).toEqual(interpreted);
    pair.compare();
    pair.journal(false);
    pair.run(300).compare();
    expect(pair.translated.register(10)).toBe(300n);
    expect(pair.translator.translated).toBe(3); // once each time
  });

  it('ends a run when it closes, before it is full', () => {
    const pair = new Pair({ words: { 0: LOOP }, x, journaled: true });
    pair.journals[1].closes = true;
    pair.translated.run(100_000);
    expect(pair.translated.register(10)).toBeLessThan(8192n / 3n + 1n);
    pair.journals[1].closes = false;
    pair.translated.run(1_000_000);
    expect(pair.journals[1].take().length).toBeGreaterThan(20_000);
  });
});

describe('pages that change', () => {
  const ofAddress = encode('sfence.vma', { rs1: 15 });
  it.each([
    ['of all', SFENCE_VMA],
    ['of their address', ofAddress],
  ])('are new after an SFENCE.VMA %s: data', (_, fence) => {
    // the two pages of data take turns behind one vaddr
    const use = [
      encode('ld', { rd: 5, rs1: 11 }),
      encode('add', { rd: 10, rs1: 10, rs2: 5 }),
      encode('addi', { rd: 10, rs1: 10, imm: 1 }),
      encode('sd', { rs1: 11, rs2: 10 }),
    ];
    const words = [
      ...[encode('sd', { rs1: 12, rs2: 13, imm: 8 }), fence, ...use],
      ...[encode('sd', { rs1: 12, rs2: 14, imm: 8 }), fence, ...use],
      jump(-2 * (2 + use.length)),
    ];
    const [a, b] = [entry(DATA, V | R | W | A | D), entry(DATA + 0x1000, V | R | W | A | D)];
    const pair = paged({ 0: words }, registers({ 11: 0x20_1000n, 12: 0x20_8000n, 13: a, 14: b, 15: 0x20_1fffn }));
    for (let i = 0; i < 20; i++) pair.run(37).compare();
    expect(pair.translator.translated).toBeGreaterThan(0);
  });

  it.each([
    ['of all', SFENCE_VMA],
    ['of their address', ofAddress],
  ])('are new after an SFENCE.VMA %s: code', (_, fence) => {
    // the page of code becomes another one, which goes on at the same place
    const first = [encode('sd', { rs1: 12, rs2: 13 }), fence, addi(1), jump(-3)];
    const second = [encode('sd', { rs1: 12, rs2: 14 }), fence, addi(100), jump(-3)];
    const [a, b] = [entry(0, V | R | X | A), entry(0x1000, V | R | X | A)];
    const pair = paged({ 0: first, 4096: second }, registers({ 12: 0x20_8000n, 13: b, 14: a, 15: 0x20_0ffcn }));
    for (let i = 0; i < 20; i++) pair.run(37).compare();
    expect(pair.translated.register(10)).toBeGreaterThan(100n);
  });
});

describe('CSR instructions', () => {
  const { CSR_MSCRATCH, CSR_FFLAGS, CSR_TIME, CSR_MIE } = csrs;

  it.each([
    ['a read', encode('csrrs', { rd: 5, csr: CSR_TIME }), 0],
    ['a write that nothing looks at', encode('csrrw', { rd: 5, rs1: 10, csr: CSR_MSCRATCH }), 0],
    ['flags of floating point', encode('csrrci', { rd: 5, rs1: 1, csr: CSR_FFLAGS }), MSTATUS_FS],
  ])('do not end a translation: %s', (_, word, mstatus) => {
    const pair = new Pair({ words: { 0: [addi(1), word, jump(-2)] }, mstatus });
    for (let i = 0; i < 3; i++) pair.run(1000).compare();
    expect(pair.translator.interpreted).toBeLessThan(300);
  });

  it('end it if an interrupt may be taken now', () => {
    const words = {
      0: [addi(1), encode('csrrsi', { rs1: 1 << IRQ_M_SOFT, csr: CSR_MIE }), addi(1), jump(-3)],
      256: [jump(0)],
    };
    const pair = new Pair({ words, mstatus: MSTATUS_MIE, mtvec: BigInt(RAM_BASE + 0x100) });
    pair.lines.fill(1 << IRQ_M_SOFT);
    pair.run(100).compare();
    expect(pair.translated.register(10)).toBe(1n);
  });

  it('do not keep an interrupt waiting', () => {
    let reads = 0;
    const time = (): bigint => {
      if (++reads === 1000) Atomics.or(pair.lines, 1, 1 << IRQ_M_SOFT);
      return 0n;
    };
    const words = { 0: [encode('csrrs', { rd: 5, csr: CSR_TIME }), jump(-1)], 256: [jump(0)] };
    const pair = new Pair({ words, time, mie: 1 << IRQ_M_SOFT, mstatus: MSTATUS_MIE, mtvec: BigInt(RAM_BASE + 0x100) });
    pair.translated.run(60_000);
    expect(reads).toBeLessThan(1600);
    expect(pair.translated.pc).toBe(RAM_BASE + 0x100);
  });
});

class NoMemory {
  constructor() {
    throw new RangeError('WebAssembly.Module(): Out of memory');
  }
}

describe('without memory for code', () => {
  afterEach(() => vi.restoreAllMocks());

  it('goes on with the interpreter', () => {
    const pair = new Pair({ words: { 0: [addi(1), jump(-1)] } });
    vi.spyOn(WebAssembly, 'Module').mockImplementation(NoMemory as never);
    for (let i = 0; i < 3; i++) pair.run(100).compare();
    expect(pair.translator.translated).toBe(0);
  });
});

describe('a translator that has been prepared', () => {
  const prepared = (options = {}): Pair => {
    const pair = new Pair({ words: { 0: [addi(1), jump(-1)] } }, { first: 10_000, ...options });
    pair.translator.prepare({ base: RAM_BASE, offset: 0, size: RAM_SIZE });
    return pair;
  };

  it('has executed nothing, and interprets nothing first', () => {
    const pair = prepared().compare();
    for (let i = 0; i < 3; i++) pair.run(1000).compare();
    expect([pair.translator.translated, pair.translator.interpreted]).toEqual([1, 0]);
  });

  it('translates in steps between which its interrupts are looked at', () => {
    const pair = prepared({ hot: 30 });
    const counts = Array.from({ length: 20 }, () => pair.run(100).compare().translator.translated);
    expect(counts.slice(0, 3)).toEqual([0, 0, 0]);
    expect(counts.at(-1)).toBe(1);
  });
});

describe('interrupts and budgets', () => {
  it('executes exactly as many instructions as it is allowed', () => {
    const pair = new Pair({ words: { 0: [addi(1), addi(2), addi(3), jump(-3)] } });
    for (const budget of [1, 2, 3, 5, 7, 1000, 1, 4, 70_001]) {
      const before = pair.translated.save().minstret;
      pair.run(budget).compare();
      expect(pair.translated.save().minstret - before).toBe(BigInt(budget));
    }
  });

  it('drops all translations when there are too many, and goes on', () => {
    // each pair jumps to the next one by JALR: a region each
    const pair = (imm: number): number[] => [addi(imm), encode('jalr', { rs1: 11 + imm })];
    const words = [1, 2, 3, 4, 5].flatMap(pair);
    const x = registers(Object.fromEntries([1, 2, 3, 4, 5].map((i) => [11 + i, BigInt(RAM_BASE + 8 * (i % 5))])));
    const both = new Pair({ words: { 0: words }, x }, { regions: 3 });
    for (let i = 0; i < 10; i++) both.run(11).compare();
    expect(both.translator.translated).toBeGreaterThan(6);
  });
});
