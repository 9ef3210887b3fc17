import { describe, expect, it } from 'vitest';

import { DOUBLE, NV, NX, SINGLE } from '../../../../guest/riscv/float/format.ts';
import { encode } from '../encode.ts';
import { createHart, type Fixture, RAM_BASE } from '../fixture.ts';
import { bitsOf } from './operands.ts';

const FS = { off: 0, initial: 1 << 13, dirty: 3 << 13 };
const BOX = 0xffff_ffffn << 32n;
const s = (value: number) => BOX | bitsOf(SINGLE, value);
const d = (value: number) => bitsOf(DOUBLE, value);
const u64 = (value: bigint) => BigInt.asUintN(64, value);

interface Given {
  /** f1, f2, f3 */
  readonly f?: readonly bigint[];
  /** x1, x2 */
  readonly x?: readonly bigint[];
  readonly fs?: number;
  readonly frm?: number;
}

/** Executes `words` with operands in f1… and x1…; results go to f10 and x10. */
function execute(words: readonly number[], { f = [], x = [], fs = FS.initial, frm = 0 }: Given = {}): Fixture {
  const fixture = createHart();
  for (const [i, word] of words.entries()) fixture.ram.setInt32(4 * i, word, true);
  const state = fixture.hart.save();
  const at = (values: readonly bigint[], from: number, size: number) =>
    Array.from({ length: size }, (_, i) => BigInt.asIntN(64, values[i - from] ?? 0n));
  const float = { f: at(f, 1, 32), fflags: 0, frm };
  fixture.hart.restore({ ...state, x: at(x, 0, 31), float, mstatus: fs });
  fixture.hart.run(words.length);
  return fixture;
}

const result = ({ hart }: Fixture) => u64(hart.save().float?.f[10] ?? 0n);
const flags = ({ hart }: Fixture) => hart.save().float?.fflags;
const binary = (name: string, rm = 7) => encode(name, { rd: 10, rs1: 1, rs2: 2, rs3: 3, rm });
const unary = (name: string, rm = 7) => encode(name, { rd: 10, rs1: 1, rm });

describe('arithmetic', () => {
  it.each([
    ['fadd.s', [s(1.5), s(2)], s(3.5)],
    ['fsub.s', [s(1.5), s(2)], s(-0.5)],
    ['fmul.s', [s(1.5), s(2)], s(3)],
    ['fdiv.s', [s(1), s(3)], s(1 / 3)],
    ['fadd.d', [d(0.1), d(0.2)], d(0.1 + 0.2)],
    ['fsub.d', [d(0.1), d(0.2)], d(0.1 - 0.2)],
    ['fmul.d', [d(0.1), d(0.2)], d(0.1 * 0.2)],
    ['fdiv.d', [d(0.1), d(0.3)], d(0.1 / 0.3)],
    ['fmadd.s', [s(2), s(3), s(1)], s(7)],
    ['fmsub.s', [s(2), s(3), s(1)], s(5)],
    ['fnmsub.s', [s(2), s(3), s(1)], s(-5)],
    ['fnmadd.s', [s(2), s(3), s(1)], s(-7)],
    ['fmadd.d', [d(2), d(3), d(1)], d(7)],
    ['fmsub.d', [d(2), d(3), d(1)], d(5)],
    ['fnmsub.d', [d(2), d(3), d(1)], d(-5)],
    ['fnmadd.d', [d(2), d(3), d(1)], d(-7)],
    ['fsgnj.s', [s(1), s(-2)], s(-1)],
    ['fsgnjn.s', [s(1), s(-2)], s(1)],
    ['fsgnjx.d', [d(-1), d(-2)], d(1)],
    ['fmin.d', [d(0), d(-0)], d(-0)],
    ['fmax.d', [d(-0), d(0)], d(0)],
    ['fmin.d', [d(-0), d(-1)], d(-1)],
    ['fmax.s', [s(-0), s(-1)], s(-0)],
    ['fmax.s', [s(Number.NaN), s(-1)], s(-1)],
    ['fmin.d', [d(Number.NaN), d(Number.NaN)], DOUBLE.nan],
  ])('%s', (name, f, expected) => {
    expect(result(execute([binary(name)], { f }))).toBe(expected);
  });

  it('fsqrt.s and fsqrt.d', () => {
    expect(result(execute([unary('fsqrt.s')], { f: [s(2)] }))).toBe(s(Math.SQRT2));
    expect(result(execute([unary('fsqrt.d')], { f: [d(2)] }))).toBe(d(Math.SQRT2));
  });

  it('accrues exceptions in fflags and takes the mode of frm or of the instruction', () => {
    const third = (rm: number, frm: number) => execute([binary('fdiv.d', rm)], { f: [d(1), d(3)], frm });
    expect([result(third(7, 3)), result(third(3, 0)), result(third(0, 3))]).toEqual([
      d(1 / 3) + 1n,
      d(1 / 3) + 1n,
      d(1 / 3),
    ]);
    expect(flags(third(7, 3))).toBe(NX);
  });

  it.each([5, 6, 7])('is illegal with rm dynamic and frm = %i (unpriv-isa §20.2)', (frm) => {
    expect(execute([binary('fadd.d')], { frm }).hart.save().mcause).toBe(2n);
  });
});

describe('NaN boxing (unpriv-isa §21.2)', () => {
  const unboxed = bitsOf(SINGLE, 1);

  it.each([
    ['fadd.s', [unboxed, s(1)], BOX | SINGLE.nan],
    ['fsgnjn.s', [unboxed, s(1)], BOX | SINGLE.nan | SINGLE.signBit],
    ['fmin.s', [unboxed, s(1)], s(1)],
  ])('%s reads what is not boxed as the canonical NaN', (name, f, expected) => {
    const fixture = execute([binary(name)], { f });
    expect([result(fixture), flags(fixture)]).toEqual([expected, 0]);
  });

  it('fmv.x.w and fsw take the low bits, boxed or not', () => {
    const words = [encode('fmv.x.w', { rd: 10, rs1: 1 }), encode('fsw', { rs1: 1, rs2: 1, imm: 0 })];
    const { get, ram } = execute(words, { f: [0x1234_5678_8000_0001n], x: [BigInt(RAM_BASE + 0x100)] });
    expect([get('a0'), ram.getUint32(0x100, true)]).toEqual([0xffff_ffff_8000_0001n, 0x8000_0001]);
  });

  it('flw and fmv.w.x write boxed, fld and fmv.d.x all bits', () => {
    const x = [BigInt(RAM_BASE + 0x100), 0x1234_5678_9abc_def0n];
    const stored = encode('sd', { rs1: 1, rs2: 2, imm: 0 });
    const load = (name: string) => result(execute([stored, encode(name, { rd: 10, rs1: 1 })], { x }));
    const move = (name: string) => result(execute([encode(name, { rd: 10, rs1: 2 })], { x }));
    expect([load('flw'), load('fld'), move('fmv.w.x'), move('fmv.d.x')]).toEqual([
      BOX | 0x9abc_def0n,
      x[1],
      BOX | 0x9abc_def0n,
      x[1],
    ]);
  });
});

const MAX64 = 2n ** 63n - 1n;
const MIN64 = -(2n ** 63n);

describe('conversions (unpriv-isa §20.7)', () => {
  it.each([
    ['fcvt.w.d', d(-1.5), 1, -1n, NX],
    ['fcvt.w.d', d(-1.5), 2, -2n, NX],
    ['fcvt.w.d', d(2.5), 0, 2n, NX],
    ['fcvt.w.d', d(2.5), 4, 3n, NX],
    ['fcvt.w.d', d(2 ** 31 - 1), 0, 2n ** 31n - 1n, 0],
    ['fcvt.w.d', d(2 ** 31), 0, 2n ** 31n - 1n, NV],
    ['fcvt.w.d', d(2 ** 31 - 0.25), 1, 2n ** 31n - 1n, NX],
    ['fcvt.w.d', d(2 ** 31 - 0.25), 3, 2n ** 31n - 1n, NV],
    ['fcvt.w.d', d(-(2 ** 40)), 0, -(2n ** 31n), NV],
    ['fcvt.wu.d', d(2 ** 32 - 1), 0, -1n, 0],
    ['fcvt.wu.d', d(-0.5), 0, 0n, NX],
    ['fcvt.wu.d', d(-1), 0, 0n, NV],
    ['fcvt.wu.d', DOUBLE.nan, 0, -1n, NV],
    ['fcvt.l.d', DOUBLE.nan, 0, MAX64, NV],
    ['fcvt.l.d', d(-Infinity), 0, MIN64, NV],
    ['fcvt.l.d', d(-(2 ** 63)), 0, MIN64, 0],
    ['fcvt.l.d', d(2 ** 63), 0, MAX64, NV],
    ['fcvt.lu.d', d(2 ** 64), 0, -1n, NV],
    ['fcvt.lu.d', d(2 ** 63), 0, MIN64, 0],
    ['fcvt.l.s', s(-3), 0, -3n, 0],
    ['fcvt.lu.s', s(3.5), 1, 3n, NX],
    ['fcvt.w.s', s(1e10), 0, 2n ** 31n - 1n, NV],
    ['fcvt.wu.s', s(3e9), 0, BigInt.asIntN(32, 3_000_000_000n), 0],
  ])('%s of %x in mode %i', (name, f, rm, expected, raised) => {
    const fixture = execute([unary(name, rm)], { f: [f] });
    expect([fixture.get('a0'), flags(fixture) ?? 0]).toEqual([u64(expected), raised]);
  });

  it.each([
    ['fcvt.d.w', -1n, d(-1), 0],
    ['fcvt.d.wu', -1n, d(2 ** 32 - 1), 0],
    ['fcvt.d.l', -1n, d(-1), 0],
    ['fcvt.d.lu', -1n, d(2 ** 64), NX],
    ['fcvt.d.l', MAX64, d(2 ** 63), NX],
    ['fcvt.s.w', 16_777_217n, s(16_777_216), NX],
    ['fcvt.s.l', -3n, s(-3), 0],
    ['fcvt.s.lu', -1n, s(2 ** 64), NX],
    ['fcvt.s.wu', 2n ** 32n, s(0), 0],
  ])('%s of %i', (name, x, expected, raised) => {
    const fixture = execute([unary(name, 0)], { x: [x] });
    expect([result(fixture), flags(fixture) ?? 0]).toEqual([expected, raised]);
  });

  it.each([
    ['fcvt.d.s', s(1.5), d(1.5), 0],
    ['fcvt.d.s', BOX | 0x7f80_0001n, DOUBLE.nan, NV],
    ['fcvt.d.s', BOX | 1n, d(2 ** -149), 0],
    ['fcvt.s.d', d(1 / 3), s(1 / 3), NX],
    ['fcvt.s.d', d(1e300), s(Infinity), 5],
    ['fcvt.s.d', d(2 ** -150), s(0), 3],
  ])('%s of %x', (name, f, expected, raised) => {
    const fixture = execute([unary(name, 0)], { f: [f] });
    expect([result(fixture), flags(fixture)]).toEqual([expected, raised]);
  });
});

describe('comparisons and classes (unpriv-isa §20.8, §20.9)', () => {
  const signaling = DOUBLE.infinity | 1n;

  it.each([
    ['feq.d', d(0), d(-0), 1n, 0],
    ['flt.d', d(-0), d(0), 0n, 0],
    ['fle.d', d(-0), d(0), 1n, 0],
    ['flt.d', d(-2), d(-1), 1n, 0],
    ['flt.d', d(-1), d(-2), 0n, 0],
    ['feq.d', DOUBLE.nan, d(1), 0n, 0],
    ['feq.d', signaling, d(1), 0n, NV],
    ['flt.d', DOUBLE.nan, d(1), 0n, NV],
    ['fle.d', d(1), DOUBLE.nan, 0n, NV],
    ['fle.s', s(1), s(1), 1n, 0],
  ])('%s of %x and %x', (name, a, b, expected, raised) => {
    const fixture = execute([binary(name, 0)], { f: [a, b] });
    expect([fixture.get('a0'), flags(fixture)]).toEqual([expected, raised]);
  });

  it.each([
    [d(-Infinity), 0],
    [d(-1), 1],
    [d(-(2 ** -1074)), 2],
    [d(-0), 3],
    [d(0), 4],
    [d(2 ** -1074), 5],
    [d(1), 6],
    [d(Infinity), 7],
    [signaling, 8],
    [DOUBLE.nan, 9],
  ])('fclass.d of %x is bit %i', (f, bit) => {
    expect(execute([unary('fclass.d')], { f: [f] }).get('a0')).toBe(1n << BigInt(bit));
  });
});

describe('mstatus.FS (priv-isa §3.1.6.6)', () => {
  const add = binary('fadd.d');
  const readFcsr = encode('csrrs', { rd: 10, rs1: 0, csr: 3 });

  it.each([
    ['an operation', add],
    ['a load', encode('fld', { rd: 10, rs1: 1 })],
    ['a store', encode('fsd', { rs1: 1, rs2: 1 })],
    ['fcsr', readFcsr],
  ])('Off makes %s illegal', (_, word) => {
    expect(execute([word], { fs: FS.off, x: [BigInt(RAM_BASE)] }).hart.save().mcause).toBe(2n);
  });

  it.each([
    ['an operation', add, FS.dirty],
    ['a load', encode('fld', { rd: 10, rs1: 1 }), FS.dirty],
    ['a store', encode('fsd', { rs1: 1, rs2: 1, imm: 8 }), FS.initial],
    ['a read of fcsr', readFcsr, FS.initial],
    ['a write of fcsr', encode('csrrw', { rs1: 2, csr: 3 }), FS.dirty],
  ])('%s leaves it as it must', (_, word, fs) => {
    const { hart } = execute([word], { x: [BigInt(RAM_BASE)] });
    expect([hart.save().mstatus, hart.save().mcause]).toEqual([fs, 0n]);
  });

  it('fflags, frm and fcsr are one register', () => {
    const words = [
      encode('csrrw', { rs1: 1, csr: 3 }),
      encode('csrrs', { rd: 10, csr: 1 }),
      encode('csrrs', { rd: 11, csr: 2 }),
      encode('csrrs', { rd: 12, csr: 3 }),
    ];
    const { get } = execute(words, { x: [0xfffn] });
    expect([get('a0'), get('a1'), get('a2')]).toEqual([31n, 7n, 0xffn]);
  });
});
