import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { execute } from './fixture.ts';

const MIN64 = -(2n ** 63n);
const MAX64 = 2n ** 63n - 1n;
const MIN32 = -(2n ** 31n);
const u64 = (value: bigint) => BigInt.asUintN(64, value);

describe('register-immediate instructions (unpriv-isa §2.4.1, §4.2.1)', () => {
  it.each([
    ['fff58513  addi a0, a1, -1', 0n, -1n],
    ['7ff58513  addi a0, a1, 2047', MAX64, MIN64 + 2046n],
    ['00158013  addi zero, a1, 1', 5n, 0n],
    ['fff5a513  slti a0, a1, -1', -2n, 1n],
    ['fff5a513  slti a0, a1, -1', -1n, 0n],
    ['fff5b513  sltiu a0, a1, -1', 5n, 1n],
    ['0015b513  sltiu a0, a1, 1', 0n, 1n],
    ['fff5b513  sltiu a0, a1, -1', -1n, 0n],
    ['fff5c513  xori a0, a1, -1', 0x0fn, -16n],
    ['0705e513  ori a0, a1, 0x70', 0x0fn, 0x7fn],
    ['ff05f513  andi a0, a1, -16', 0xffn, 0xf0n],
    ['03f59513  slli a0, a1, 63', 3n, MIN64],
    ['00059513  slli a0, a1, 0', 3n, 3n],
    ['02059513  slli a0, a1, 32', 0x1_2345_6789n, 0x2345_6789_0000_0000n],
    ['0015d513  srli a0, a1, 1', -1n, MAX64],
    ['0205d513  srli a0, a1, 32', -1n, 0xffff_ffffn],
    ['43f5d513  srai a0, a1, 63', MIN64, -1n],
    ['4205d513  srai a0, a1, 32', MIN64, MIN32],
    ['0015851b  addiw a0, a1, 1', 0x7fff_ffffn, MIN32],
    ['0005851b  addiw a0, a1, 0', 0x1_8000_0000n, MIN32],
    ['01f5951b  slliw a0, a1, 31', 1n, MIN32],
    ['0005d51b  srliw a0, a1, 0', 0xffff_ffffn, -1n],
    ['0045d51b  srliw a0, a1, 4', 0xffff_ffffn, 0x0fff_ffffn],
    ['4045d51b  sraiw a0, a1, 4', 0x8000_0000n, -0x800_0000n],
    ['80000537  lui a0, 0x80000', 0n, MIN32],
    ['12345537  lui a0, 0x12345', 0n, 0x1234_5000n],
    ['00001517  auipc a0, 0x1', 0n, 0x8000_1000n],
    ['80000517  auipc a0, 0x80000', 0n, 0n],
    ['ffff0517  auipc a0, 0xffff0', 0n, 0x7fff_0000n],
  ])('%s with a1 = %d gives %d', (instruction, a1, expected) => {
    const { get } = execute(instruction, { a1, a0: 0n });
    expect(get('a0')).toBe(u64(expected));
  });
});

/**
 * The M extension and the register-register instructions as the manual words them, on signed
 * bigints.
 */
const MODEL: readonly (readonly [string, (a: bigint, b: bigint) => bigint])[] = [
  ['00c58533  add a0, a1, a2', (a, b) => a + b],
  ['40c58533  sub a0, a1, a2', (a, b) => a - b],
  ['00c59533  sll a0, a1, a2', (a, b) => a << (b & 63n)],
  ['00c5a533  slt a0, a1, a2', (a, b) => (a < b ? 1n : 0n)],
  ['00c5b533  sltu a0, a1, a2', (a, b) => (u64(a) < u64(b) ? 1n : 0n)],
  ['00c5c533  xor a0, a1, a2', (a, b) => a ^ b],
  ['00c5d533  srl a0, a1, a2', (a, b) => u64(a) >> (b & 63n)],
  ['40c5d533  sra a0, a1, a2', (a, b) => a >> (b & 63n)],
  ['00c5e533  or a0, a1, a2', (a, b) => a | b],
  ['00c5f533  and a0, a1, a2', (a, b) => a & b],
  ['00c5853b  addw a0, a1, a2', (a, b) => word(a + b)],
  ['40c5853b  subw a0, a1, a2', (a, b) => word(a - b)],
  ['00c5953b  sllw a0, a1, a2', (a, b) => word(a << (b & 31n))],
  ['00c5d53b  srlw a0, a1, a2', (a, b) => word(uword(a) >> (b & 31n))],
  ['40c5d53b  sraw a0, a1, a2', (a, b) => word(a) >> (b & 31n)],
  ['02c58533  mul a0, a1, a2', (a, b) => a * b],
  ['02c59533  mulh a0, a1, a2', (a, b) => (a * b) >> 64n],
  ['02c5a533  mulhsu a0, a1, a2', (a, b) => (a * u64(b)) >> 64n],
  ['02c5b533  mulhu a0, a1, a2', (a, b) => (u64(a) * u64(b)) >> 64n],
  ['02c5853b  mulw a0, a1, a2', (a, b) => word(a * b)],
  ['02c5c533  div a0, a1, a2', (a, b) => (b === 0n ? -1n : a / b)],
  ['02c5d533  divu a0, a1, a2', (a, b) => (b === 0n ? -1n : u64(a) / u64(b))],
  ['02c5e533  rem a0, a1, a2', (a, b) => (b === 0n ? a : a % b)],
  ['02c5f533  remu a0, a1, a2', (a, b) => (b === 0n ? a : u64(a) % u64(b))],
  ['02c5c53b  divw a0, a1, a2', (a, b) => (word(b) === 0n ? -1n : word(word(a) / word(b)))],
  ['02c5d53b  divuw a0, a1, a2', (a, b) => (word(b) === 0n ? -1n : word(uword(a) / uword(b)))],
  ['02c5e53b  remw a0, a1, a2', (a, b) => (word(b) === 0n ? word(a) : word(word(a) % word(b)))],
  ['02c5f53b  remuw a0, a1, a2', (a, b) => (word(b) === 0n ? word(a) : word(uword(a) % uword(b)))],
];
const word = (value: bigint) => BigInt.asIntN(32, value);
const uword = (value: bigint) => BigInt.asUintN(32, value);

/** Values near the corners of 8, 32 and 64 bits as often as any others. */
const operand = fc.oneof(
  fc.bigInt({ min: MIN64, max: MAX64 }),
  fc.bigInt({ min: -70n, max: 70n }),
  fc
    .tuple(fc.constantFrom(MIN64, MAX64, MIN32, 2n ** 31n, 2n ** 32n), fc.bigInt({ min: -2n, max: 2n }))
    .map(([corner, d]) => BigInt.asIntN(64, corner + d)),
);

describe('register-register instructions (unpriv-isa §2.4.2, §4.2.2, §13)', () => {
  it.each(MODEL)('%s agrees with its definition for any operands', (instruction, model) => {
    fc.assert(
      fc.property(operand, operand, (a1, a2) => {
        expect(execute(instruction, { a1, a2 }).get('a0')).toBe(u64(model(a1, a2)));
      }),
      {
        numRuns: 60,
        examples: [
          [MIN64, -1n],
          [MIN32, -1n],
          [5n, 0n],
          [-1n, -1n],
        ],
      },
    );
  });

  it('leaves zero in x0, whatever is written to it', () => {
    const { hart, step, get } = execute('00c58033  add zero, a1, a2\n00000513  mv a0, zero', {
      a0: 9n,
      a1: 1n,
      a2: 2n,
    });
    step();
    expect(hart.register(0)).toBe(0n);
    expect(get('a0')).toBe(0n);
  });
});
