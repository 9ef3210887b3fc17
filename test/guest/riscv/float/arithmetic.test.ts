import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import * as exact from '../../../../guest/riscv/float/arithmetic.ts';
import {
  DOUBLE,
  DZ,
  type Environment,
  type Format,
  NV,
  NX,
  OF,
  RDN,
  RMM,
  RNE,
  type RoundingMode,
  RTZ,
  RUP,
  SINGLE,
  UF,
} from '../../../../guest/riscv/float/format.ts';
import * as host from '../../../../guest/riscv/float/host-arithmetic.ts';
import { bitsOf, formats, numberOf, operand } from './operands.ts';

const environment = (mode: RoundingMode = RNE, flags = 0): Environment => ({ mode, flags });
const none = { product: false, addend: false };
const RUNS = { numRuns: 3000 };

/** NaNs are alike for the host: which bits it makes is not defined. */
const canonical = (format: Format, value: number): bigint => (Number.isNaN(value) ? format.nan : bitsOf(format, value));

describe.each(formats)('%s, to nearest, gives what IEEE 754 on the host gives', (_, format) => {
  it.each([
    ['a + b', exact.add, (a: number, b: number) => a + b],
    ['a − b', exact.subtract, (a: number, b: number) => a - b],
    ['a × b', exact.multiply, (a: number, b: number) => a * b],
    ['a ÷ b', exact.divide, (a: number, b: number) => a / b],
  ])('%s', (_name, ours, theirs) => {
    fc.assert(
      fc.property(operand(format), operand(format), (a, b) => {
        // doubles of singles: rounding twice is safe where the result is no subnormal single
        const expected = theirs(numberOf(format, a), numberOf(format, b));
        fc.pre(format === DOUBLE || expected === 0 || !(Math.abs(expected) < 2 ** -125));
        expect(ours(format, a, b, environment())).toBe(canonical(format, expected));
      }),
      RUNS,
    );
  });

  it('√a', () => {
    fc.assert(
      fc.property(operand(format), (a) => {
        expect(exact.squareRoot(format, a, environment())).toBe(canonical(format, Math.sqrt(numberOf(format, a))));
      }),
      RUNS,
    );
  });
});

describe('the short way of host-arithmetic.ts', () => {
  const fused =
    (byHost: typeof host.fusedDouble, format: Format) => (flags: number, a: bigint, b: bigint, c: bigint) => {
      const ours = environment(RNE, flags);
      const theirs = environment(RNE, flags);
      const result = byHost(theirs, numberOf(format, a), numberOf(format, b), numberOf(format, c));
      const expected = Number.isNaN(result)
        ? [undefined, flags]
        : [exact.fusedMultiplyAdd(format, [a, b, c], none, ours), ours.flags];
      expect([Number.isNaN(result) ? undefined : bitsOf(format, result), theirs.flags]).toEqual(expected);
    };
  const flags = fc.constantFrom(0, NX, NX | UF);

  it.each([
    ['binary64 a + b', DOUBLE, host.addDouble, exact.add],
    ['binary64 a × b', DOUBLE, host.multiplyDouble, exact.multiply],
    ['binary64 a ÷ b', DOUBLE, host.divideDouble, exact.divide],
    ['binary32 a + b', SINGLE, host.addSingle, exact.add],
    ['binary32 a × b', SINGLE, host.multiplySingle, exact.multiply],
    ['binary32 a ÷ b', SINGLE, host.divideSingle, exact.divide],
  ])('gives the exact result and the exact flags, or no answer: %s', (_, format, byHost, exactly) => {
    let answers = 0;
    fc.assert(
      fc.property(flags, operand(format), operand(format), (before, a, b) => {
        const ours = environment(RNE, before);
        const theirs = environment(RNE, before);
        const result = byHost(theirs, numberOf(format, a), numberOf(format, b));
        const expected = Number.isNaN(result) ? [undefined, before] : [exactly(format, a, b, ours), ours.flags];
        expect([Number.isNaN(result) ? undefined : bitsOf(format, result), theirs.flags]).toEqual(expected);
        if (!Number.isNaN(result)) answers++;
      }),
      RUNS,
    );
    expect(answers).toBeGreaterThan(500);
  });

  it.each([
    ['binary64', DOUBLE, host.fusedDouble],
    ['binary32', SINGLE, host.fusedSingle],
  ])('of a fused operation: %s', (_, format, byHost) => {
    const check = fused(byHost, format);
    fc.assert(fc.property(flags, operand(format), operand(format), operand(format), check), RUNS);
  });

  it.each([
    ['binary64', DOUBLE, host.fusedDouble],
    ['binary32', SINGLE, host.fusedSingle],
  ])('of a fused operation that cancels almost: %s', (_, format, byHost) => {
    const check = fused(byHost, format);
    const step = fc.bigInt(-3n, 3n);
    fc.assert(
      fc.property(flags, operand(format), operand(format), step, (before, a, b, ulps) => {
        const product = exact.multiply(format, a, b, environment());
        fc.pre((product & (format.signBit - 1n)) < format.infinity - 8n && (product & (format.signBit - 1n)) > 8n);
        check(before, a, b, (product ^ format.signBit) + ulps);
      }),
      RUNS,
    );
  });

  it.each([
    ['binary64', host.fusedDouble, 1 + 2 ** -26, 1 + 2 ** -27, 2 ** -120, 1 + 2 ** -26 + 2 ** -27 + 2 ** -52],
    ['binary64', host.fusedDouble, 1 + 2 ** -26, 1 + 2 ** -27, -(2 ** -120), 1 + 2 ** -26 + 2 ** -27],
    ['binary32', host.fusedSingle, 1 + 2 ** -12, 1 + 2 ** -12, 2 ** -80, 1 + 2 ** -11 + 2 ** -23],
    ['binary32', host.fusedSingle, 1 + 2 ** -12, 1 + 2 ** -12, -(2 ** -80), 1 + 2 ** -11],
  ] as const)(
    'rounds once a product half way between two numbers, and a little more: %s',
    (_, byHost, a, b, c, sum) => {
      expect(byHost(environment(RNE, NX), a, b, c)).toBe(sum);
    },
  );

  it('answers in no other rounding mode', () => {
    expect(host.addDouble(environment(RUP), 1, 2)).toBeNaN();
    expect(host.multiplySingle(environment(RTZ), 1, 2)).toBeNaN();
  });
});

const MAX = DOUBLE.infinity - 1n;
const MIN_NORMAL = 1n << 52n;
const d = (value: number) => bitsOf(DOUBLE, value);
const minus = DOUBLE.signBit;
const modes: Readonly<Record<string, RoundingMode>> = { RNE, RTZ, RDN, RUP, RMM };

describe('rounding modes and exceptions (unpriv-isa §20.2)', () => {
  it.each([
    ['RNE', 1.5, d(2)],
    ['RTZ', 1.5, d(1)],
    ['RDN', 1.5, d(1)],
    ['RUP', 1.5, d(2)],
    ['RMM', 1.5, d(2)],
    ['RNE', 2.5, d(2)],
    ['RMM', 2.5, d(3)],
    ['RTZ', -1.5, d(-1)],
    ['RDN', -1.5, d(-2)],
    ['RUP', -1.5, d(-1)],
    ['RNE', -2.5, d(-2)],
    ['RMM', -2.5, d(-3)],
  ] as const)('%s rounds %d units in the last place', (mode, ulps, rounded) => {
    // 2^52 × (ulps) has its units there: 2^52 + ulps − 2^52
    const env = environment(modes[mode]);
    const base = d(Math.sign(ulps) * 2 ** 52);
    const sum = exact.add(DOUBLE, base, d(ulps), env);
    expect(exact.subtract(DOUBLE, sum, base, environment())).toBe(rounded);
    expect(env.flags).toBe(NX);
  });

  it.each([
    ['RNE', 0n, DOUBLE.infinity],
    ['RTZ', 0n, MAX],
    ['RDN', 0n, MAX],
    ['RUP', 0n, DOUBLE.infinity],
    ['RMM', 0n, DOUBLE.infinity],
    ['RNE', minus, minus | DOUBLE.infinity],
    ['RTZ', minus, minus | MAX],
    ['RDN', minus, minus | DOUBLE.infinity],
    ['RUP', minus, minus | MAX],
    ['RMM', minus, minus | DOUBLE.infinity],
  ] as const)('overflow in %s with sign %x', (mode, sign, result) => {
    const env = environment(modes[mode]);
    expect(exact.multiply(DOUBLE, sign | MAX, d(2), env)).toBe(result);
    expect(env.flags).toBe(OF | NX);
  });

  it.each([
    ['exact and subnormal: no underflow', 'RNE', MIN_NORMAL, d(0.5), MIN_NORMAL / 2n, 0],
    ['inexact and subnormal', 'RNE', 3n, d(0.5), 2n, UF | NX],
    ['to zero', 'RTZ', 1n, d(0.5), 0n, UF | NX],
    ['up from half of the smallest', 'RUP', 1n, d(0.5), 1n, UF | NX],
    // tiny is judged after rounding: (2^-1022 − 2^-1074) × (1 + 2^-52) rounds to 2^-1022 in 53 bits
    ['rounds up to the smallest normal number', 'RNE', MIN_NORMAL - 1n, d(1) + 1n, MIN_NORMAL, NX],
    ['the same towards zero is tiny', 'RTZ', MIN_NORMAL - 1n, d(1) + 1n, MIN_NORMAL - 1n, UF | NX],
    ['becomes normal only in the subnormal grid', 'RNE', MIN_NORMAL, d(1) - 1n, MIN_NORMAL, UF | NX],
  ] as const)('underflow: %s', (_, mode, a, b, result, flags) => {
    const env = environment(modes[mode]);
    expect([exact.multiply(DOUBLE, a, b, env), env.flags]).toEqual([result, flags]);
  });

  it.each([
    ['1 ÷ 0', () => [d(1), d(0)], DOUBLE.infinity, DZ],
    ['−1 ÷ 0', () => [d(-1), d(0)], minus | DOUBLE.infinity, DZ],
    ['0 ÷ 0', () => [d(0), d(0)], DOUBLE.nan, NV],
    ['∞ ÷ ∞', () => [DOUBLE.infinity, DOUBLE.infinity], DOUBLE.nan, NV],
    ['∞ ÷ 0', () => [DOUBLE.infinity, d(0)], DOUBLE.infinity, 0],
    ['1 ÷ ∞', () => [d(1), DOUBLE.infinity], 0n, 0],
    ['a quiet NaN ÷ 0', () => [DOUBLE.nan | 5n, d(0)], DOUBLE.nan, 0],
    ['a signaling NaN ÷ 1', () => [DOUBLE.infinity | 5n, d(1)], DOUBLE.nan, NV],
  ] as const)('%s', (_, operands, result, flags) => {
    const [a, b] = operands() as [bigint, bigint];
    const env = environment();
    expect([exact.divide(DOUBLE, a, b, env), env.flags]).toEqual([result, flags]);
  });

  it.each([
    ['0 × ∞ + a quiet NaN', 0n, DOUBLE.infinity, DOUBLE.nan, DOUBLE.nan, NV],
    ['1 × ∞ − ∞', d(1), DOUBLE.infinity, minus | DOUBLE.infinity, DOUBLE.nan, NV],
    ['1 × 1 + a signaling NaN', d(1), d(1), DOUBLE.infinity | 1n, DOUBLE.nan, NV],
    ['2^1000 × 2^1000 − ∞', d(2 ** 1000), d(2 ** 1000), minus | DOUBLE.infinity, minus | DOUBLE.infinity, 0],
    ['rounded once', d(1) + 1n, d(1) + 1n, d(-1), d(2 ** -51), NX],
    ['3 × 5 − 15', d(3), d(5), d(-15), 0n, 0],
  ] as const)('fused: %s', (_, a, b, c, result, flags) => {
    const env = environment();
    expect([exact.fusedMultiplyAdd(DOUBLE, [a, b, c], none, env), env.flags]).toEqual([result, flags]);
  });

  it.each([
    ['x − x is −0 towards −∞', RDN, d(1), d(1), minus],
    ['x − x is +0 elsewhere', RNE, d(1), d(1), 0n],
    ['−0 − +0 is −0', RNE, minus, 0n, minus],
    ['+0 − +0 is −0 towards −∞', RDN, 0n, 0n, minus],
  ] as const)('%s', (_, mode, a, b, result) => {
    expect(exact.subtract(DOUBLE, a, b, environment(mode))).toBe(result);
  });

  it.each([
    ['√−1', minus | d(1), DOUBLE.nan, NV],
    ['√−0', minus, minus, 0],
    ['√−∞', minus | DOUBLE.infinity, DOUBLE.nan, NV],
    ['√∞', DOUBLE.infinity, DOUBLE.infinity, 0],
    ['√4', d(4), d(2), 0],
    ['√ of the smallest', 1n, d(2 ** -537), 0],
    ['√2', d(2), d(Math.SQRT2), NX],
  ] as const)('%s', (_, a, result, flags) => {
    const env = environment();
    expect([exact.squareRoot(DOUBLE, a, env), env.flags]).toEqual([result, flags]);
  });
});
