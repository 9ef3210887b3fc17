/** Zba, Zbb and Zbs as the manual words them (unpriv-isa §29), interpreted and translated. */
import fc from 'fast-check';
import { expect, it } from 'vitest';

import { INSTRUCTIONS } from '../../../guest/riscv/instructions.ts';
import { encode, jumpTo } from './encode.ts';
import { RAM_BASE } from './fixture.ts';
import { registers } from './supervisor.ts';
import { Pair } from './translate/pair.ts';

/** The bits of a value, the highest first. */
const bits = (value: bigint, width = 64): string => BigInt.asUintN(width, value).toString(2).padStart(width, '0');
const ofBits = (text: string): bigint => BigInt(`0b${text}`);
const word = (value: bigint): bigint => BigInt.asUintN(32, value);
const signed = (value: bigint, width = 64): bigint => BigInt.asIntN(width, value);
const unsigned = (value: bigint): bigint => BigInt.asUintN(64, value);
const bytes = (value: bigint): string[] => bits(value).match(/.{8}/g)!;
const zeros = (text: string): bigint => BigInt(/^0*/.exec(text)![0].length);
const ones = (text: string): bigint => BigInt(text.replaceAll('0', '').length);
const backwards = (text: string): string => [...text].reverse().join('');
const rotated = (text: string, left: bigint): bigint => {
  const n = Number(((left % BigInt(text.length)) + BigInt(text.length)) % BigInt(text.length));
  return signed(ofBits(text.slice(n) + text.slice(0, n)), text.length);
};
const withBit = (a: bigint, index: bigint, to: (bit: string) => string): bigint => {
  const at = 63 - Number(index & 63n);
  const text = bits(a);
  return ofBits(text.slice(0, at) + to(text[at]!) + text.slice(at + 1));
};
const shifted = (n: bigint, a: bigint, b: bigint): bigint => a * 2n ** n + b;

/** rd of rs1 and rs2, or of rs1 and the shift amount. */
type Model = (a: bigint, b: bigint) => bigint;

const MODEL: Readonly<Record<string, Model>> = {
  sh1add: (a, b) => shifted(1n, a, b),
  sh2add: (a, b) => shifted(2n, a, b),
  sh3add: (a, b) => shifted(3n, a, b),
  'add.uw': (a, b) => word(a) + b,
  'sh1add.uw': (a, b) => shifted(1n, word(a), b),
  'sh2add.uw': (a, b) => shifted(2n, word(a), b),
  'sh3add.uw': (a, b) => shifted(3n, word(a), b),
  'slli.uw': (a, b) => shifted(b, word(a), 0n),
  andn: (a, b) => a & (-1n - b),
  orn: (a, b) => a | (-1n - b),
  xnor: (a, b) => -1n - (a ^ b),
  clz: (a) => zeros(bits(a)),
  clzw: (a) => zeros(bits(a, 32)),
  ctz: (a) => zeros(backwards(bits(a))),
  ctzw: (a) => zeros(backwards(bits(a, 32))),
  cpop: (a) => ones(bits(a)),
  cpopw: (a) => ones(bits(a, 32)),
  'sext.b': (a) => signed(a, 8),
  'sext.h': (a) => signed(a, 16),
  'zext.h': (a) => ofBits(bits(a).slice(-16)),
  max: (a, b) => (a - b > 0n ? a : b),
  maxu: (a, b) => (unsigned(a) > unsigned(b) ? a : b),
  min: (a, b) => (a - b < 0n ? a : b),
  minu: (a, b) => (unsigned(a) < unsigned(b) ? a : b),
  rol: (a, b) => rotated(bits(a), b & 63n),
  rolw: (a, b) => rotated(bits(a, 32), b & 31n),
  ror: (a, b) => rotated(bits(a), -(b & 63n)),
  rorw: (a, b) => rotated(bits(a, 32), -(b & 31n)),
  rori: (a, b) => rotated(bits(a), -b),
  roriw: (a, b) => rotated(bits(a, 32), -b),
  'orc.b': (a) =>
    ofBits(
      bytes(a)
        .map((byte) => (byte.includes('1') ? '11111111' : '00000000'))
        .join(''),
    ),
  rev8: (a) => ofBits(bytes(a).reverse().join('')),
  bclr: (a, b) => withBit(a, b, () => '0'),
  bclri: (a, b) => withBit(a, b, () => '0'),
  bext: (a, b) => BigInt(bits(a)[63 - Number(b & 63n)]!),
  bexti: (a, b) => BigInt(bits(a)[63 - Number(b)]!),
  binv: (a, b) => withBit(a, b, (bit) => (bit === '1' ? '0' : '1')),
  binvi: (a, b) => withBit(a, b, (bit) => (bit === '1' ? '0' : '1')),
  bset: (a, b) => withBit(a, b, () => '1'),
  bseti: (a, b) => withBit(a, b, () => '1'),
};

const EXTENSIONS = ['Zba', 'Zbb', 'Zbs'];
const ALL = INSTRUCTIONS.filter(({ extension }) => EXTENSIONS.includes(extension));
const AMOUNT_BITS: Readonly<Record<string, number>> = { shift: 63, shiftw: 31 };

const RESULTS = 0x4000;
/** Values near the corners of 8, 16, 32 and 64 bits, single bits, and any others. */
const operand = fc.oneof(
  fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }),
  fc.bigInt({ min: -70n, max: 70n }),
  fc
    .tuple(fc.integer({ min: 0, max: 63 }), fc.bigInt({ min: -1n, max: 1n }))
    .map(([bit, d]) => signed((1n << BigInt(bit)) + d)),
);

it('has a model of each instruction', () => {
  expect(Object.keys(MODEL).sort()).toEqual(ALL.map(({ name }) => name).sort());
});

it('Zba, Zbb and Zbs agree with their definitions for any operands', () => {
  fc.assert(
    fc.property(operand, operand, fc.integer({ min: 0, max: 63 }), (a, b, amount) => {
      const amountOf = (format: string): number | undefined =>
        AMOUNT_BITS[format] === undefined ? undefined : amount & AMOUNT_BITS[format];
      const code = ALL.flatMap(({ name, format }, i) => [
        encode(name, { rd: 10, rs1: 11, rs2: 12, imm: amountOf(format) ?? 0 }),
        encode('sd', { rs1: 13, rs2: 10, imm: 8 * i }),
      ]);
      const words = [...code, jumpTo(encode('jal'), -4 * code.length)].map((each) => each >>> 0);
      const x = registers({ 11: a, 12: b, 13: BigInt(RAM_BASE + RESULTS) });
      const pair = new Pair({ words: { 0: words }, x });
      pair.run(2 * words.length).compare();
      const results = new BigUint64Array(pair.rams[1].buffer, RESULTS, ALL.length);
      const wanted = ALL.map(({ name, format }) => {
        const given = amountOf(format);
        return [name, unsigned(MODEL[name]!(signed(a), given === undefined ? signed(b) : BigInt(given)))];
      });
      expect(ALL.map(({ name }, i) => [name, results[i]])).toEqual(wanted);
    }),
    { numRuns: 100 },
  );
});
