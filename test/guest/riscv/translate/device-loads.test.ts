import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import type { Bus } from '../../../../guest/riscv/environment.ts';
import { IRQ_M_SOFT, MSTATUS_FS, MSTATUS_MIE } from '../../../../guest/riscv/isa.ts';
import { encode, jumpTo } from '../encode.ts';
import { RAM_BASE, RAM_SIZE } from '../fixture.ts';
import { ALL, MODE, PTE, registers } from '../supervisor.ts';
import { type Given, Pair } from './pair.ts';

const CODE = 0x4000;
const HANDLER = 0x3000;
const ROOT = 0xc000;
const MIDDLE = 0xe000;
const LEAVES = 0xd000;
const DATA = 0x8000;
/** Two pages of registers, behind which nothing is; then one without any. */
const DEVICE = 0x1000_0000;
const END = DEVICE + 0x1ff0;
const MEPC = 0x341;
const { V, R, W, X, A, D } = PTE;

/** Each load gives something else; some are refused. */
class Device {
  readonly accesses: string[] = [];
  readonly bus: Bus = {
    load: (gpa, size) => {
      this.accesses.push(`load ${gpa.toString(16)} ${size}`);
      if (gpa < DEVICE || gpa + size > END || gpa % 64 === 8) return undefined;
      const value = 0x9e37_79b9_7f4a_7c15n * BigInt(this.accesses.length);
      return BigInt.asUintN(8 * size, value);
    },
    store: (gpa, size, value) => {
      this.accesses.push(`store ${gpa.toString(16)} ${size} ${value.toString(16)}`);
      return gpa >= DEVICE && gpa + size <= END;
    },
  };
}

/** A pair with a device each: that of the interpreter, that of the translator. */
function pairWith(given: Given, options: ConstructorParameters<typeof Pair>[1] = {}) {
  const devices: Device[] = [];
  const bus = (): Bus => {
    const device = new Device();
    devices.push(device);
    return device.bus;
  };
  const pair = new Pair({ ...given, bus }, options);
  return { pair, devices: devices as [Device, Device] };
}

const handler = [
  encode('csrrs', { rd: 31, csr: MEPC }),
  encode('addi', { rd: 31, rs1: 31, imm: 4 }),
  encode('csrrw', { rs1: 31, csr: MEPC }),
  encode('mret'),
].map((word) => word >>> 0);

const entry = (gpa: number, flags: number): bigint => (BigInt(gpa / 4096) << 10n) | BigInt(flags);

/** x4 points into the device's first page, x5 to its end, x6 to RAM's end, x7 to plain RAM. */
const start = (mode: number): Given => {
  const paged = mode !== MODE.M;
  const [code, device] = paged ? [0x20_0000, 0x20_1000] : [RAM_BASE + CODE, DEVICE];
  const ram = paged ? 0x20_4000 : RAM_BASE + DATA;
  return {
    words: { [HANDLER]: handler },
    pc: code,
    x: registers({
      ...{ 4: BigInt(device + 64), 5: BigInt(device + 0x1fe8), 6: BigInt(paged ? ram : RAM_BASE + RAM_SIZE - 4) },
      ...{ 7: BigInt(ram), 20: 1n },
    }),
    ...{ mtvec: BigInt(RAM_BASE + HANDLER), mstatus: MSTATUS_FS, pmp: ALL },
    privileged: { mode, satp: paged ? (8n << 60n) | BigInt((RAM_BASE + ROOT) / 4096) : 0n },
  };
};

function tables(pair: Pair, own: number): void {
  for (const ram of pair.rams) {
    new BigUint64Array(ram.buffer, ROOT, 512).fill(0n)[0] = entry(RAM_BASE + MIDDLE, V);
    new BigUint64Array(ram.buffer, MIDDLE, 512).fill(0n)[1] = entry(RAM_BASE + LEAVES, V);
    const leaves = new BigUint64Array(ram.buffer, LEAVES, 512).fill(0n);
    leaves[0] = entry(RAM_BASE + CODE, V | R | X | A | own);
    leaves[1] = entry(DEVICE, V | R | W | A | D | own);
    leaves[2] = entry(DEVICE + 4096, V | R | W | own); // A and D come by themselves
    leaves[4] = entry(RAM_BASE + DATA, V | R | W | A | D | own);
    leaves[8] = entry(RAM_BASE + LEAVES, V | R | W | A | D | own);
  }
}

const access = fc
  .tuple(
    fc.constantFrom('lb', 'lbu', 'lh', 'lhu', 'lw', 'lwu', 'ld', 'fld', 'flw', 'sw', 'sb', 'lr.w', 'amoadd.d'),
    fc.constantFrom(4, 4, 4, 5, 6, 7),
    fc.constantFrom(0, 1, 2, 4, 8, 16, 24, 28, -64, -65),
    fc.constantFrom(0, 10, 11, 12),
  )
  .map(([name, rs1, imm, rd]) => encode(name, { rs1, imm, rd, rs2: 20 }));
const step = fc.constant(encode('addi', { rd: 13, rs1: 13, imm: 1 }));
const words = fc
  .array(fc.oneof({ weight: 3, arbitrary: access }, { weight: 1, arbitrary: step }), { minLength: 1, maxLength: 20 })
  .map((list) => [...list, jumpTo(encode('jal'), -4 * list.length)].map((word) => word >>> 0));

describe('loads from devices', () => {
  it.each([
    ['in M mode', MODE.M, 0, false],
    ['in M mode, with a journal', MODE.M, 0, true],
    ['in S mode', MODE.S, 0, false],
    ['in U mode', MODE.U, PTE.U, false],
    ['in U mode, with a journal', MODE.U, PTE.U, true],
  ])('are the same accesses, with the same results and faults, %s', (_, mode, own, journaled) => {
    const budgets = fc.array(fc.integer({ min: 1, max: 150 }), { minLength: 3, maxLength: 8 });
    fc.assert(
      fc.property(words, budgets, fc.constantFrom(0, 30, Number.POSITIVE_INFINITY), (code, chunks, hot) => {
        const given = start(mode);
        const all = { ...given, words: { ...given.words, [CODE]: code }, journaled };
        const { pair, devices } = pairWith(all, { hot });
        if (mode !== MODE.M) tables(pair, own);
        for (const chunk of chunks) pair.run(chunk).compare();
        expect(devices[1].accesses).toEqual(devices[0].accesses);
      }),
      { numRuns: 60 },
    );
  });

  const LOOP = [encode('lbu', { rd: 10, rs1: 4 }), jumpTo(encode('jal'), -4) >>> 0];

  it.each([
    ['in M mode', MODE.M],
    ['on pages', MODE.S],
  ])('do not leave translated code each time, %s', (_, mode) => {
    const given = start(mode);
    const { pair } = pairWith({ ...given, words: { ...given.words, [CODE]: LOOP } });
    tables(pair, 0);
    pair.run(2000).compare();
    expect(pair.translator.interpreted).toBeLessThan(200);
  });

  it('do not keep an interrupt waiting', () => {
    const given = start(MODE.M);
    const { pair, devices } = pairWith({
      ...given,
      words: { ...given.words, [CODE]: LOOP, [HANDLER]: [encode('jal')] },
      ...{ mie: 1 << IRQ_M_SOFT, mstatus: MSTATUS_MIE },
    });
    pair.translated.run(2000);
    const before = devices[1].accesses.length;
    Atomics.or(pair.lines, 1, 1 << IRQ_M_SOFT);
    pair.translated.run(60_000);
    expect(devices[1].accesses.length - before).toBeLessThan(30);
    expect(pair.translated.pc).toBe(RAM_BASE + HANDLER);
  });

  it.each([
    ['of all', encode('sfence.vma')],
    ['of its address', encode('sfence.vma', { rs1: 15 })],
  ])('are made elsewhere after an SFENCE.VMA %s', (_, fence) => {
    // the page of the device becomes the other one, then RAM, and so on
    const use = [encode('ld', { rd: 10, rs1: 4 }), encode('ld', { rd: 11, rs1: 4, imm: 16 })];
    const change = (rs2: number): number[] => [encode('sd', { rs1: 14, rs2, imm: 8 }), fence, ...use];
    const body = [16, 17, 18].flatMap(change);
    const given = start(MODE.S);
    const x = [...given.x!];
    x[14 - 1] = 0x20_8000n;
    x[15 - 1] = 0x20_1fffn;
    for (const [i, gpa] of [DEVICE, DEVICE + 4096, RAM_BASE + DATA].entries())
      x[16 + i - 1] = entry(gpa, V | R | W | A | D);
    const code = [...body, jumpTo(encode('jal'), -4 * body.length)].map((word) => word >>> 0);
    const { pair, devices } = pairWith({ ...given, x, words: { ...given.words, [CODE]: code } });
    tables(pair, 0);
    for (let i = 0; i < 20; i++) pair.run(17).compare();
    expect(devices[1].accesses).toEqual(devices[0].accesses);
    expect(new Set(devices[1].accesses).size).toBe(4);
  });
});
