/**
 * The operations of F and D (unpriv-isa §20.6, §21.4), for any format, rounding mode and operand:
 * the exact result is computed with bigints and rounded once (round.ts). This is the definition;
 * host-arithmetic.ts is a shorter way to the same result, for the usual operands.
 */
import {
  bitLength,
  type Comparable,
  DZ,
  type Environment,
  type Finite,
  type Format,
  infinity,
  NV,
  RDN,
  type Unpacked,
  unpack,
  zero,
} from './format.ts';
import { type Exact, round } from './round.ts';

type Sum = Exact | 'zero';

/** The canonical NaN; NV for a signaling operand (unpriv-isa §20.3). */
function propagate(format: Format, operands: readonly Unpacked[], environment: Environment): bigint {
  if (operands.some((operand) => operand.kind === 'nan' && operand.signaling)) environment.flags |= NV;
  return format.nan;
}

function invalid(format: Format, environment: Environment): bigint {
  environment.flags |= NV;
  return format.nan;
}

function exactSum(a: Finite, b: Finite): Sum {
  const exponent = Math.min(a.exponent, b.exponent);
  const scaled = ({ negative, significand, exponent: e }: Finite): bigint =>
    (negative ? -significand : significand) << BigInt(e - exponent);
  const sum = scaled(a) + scaled(b);
  if (sum === 0n) return 'zero';
  return { negative: sum < 0n, significand: sum < 0n ? -sum : sum, exponent };
}

function sumOf(format: Format, a: Comparable, b: Comparable, environment: Environment): bigint {
  if (a.kind === 'infinity') {
    if (b.kind === 'infinity' && a.negative !== b.negative) return invalid(format, environment);
    return infinity(format, a.negative);
  }
  if (b.kind === 'infinity') return infinity(format, b.negative);
  // IEEE 754-2019 §6.3: x + (−x) is +0, or −0 towards −∞
  const cancelled = (): bigint => zero(format, environment.mode === RDN);
  if (a.kind === 'zero' && b.kind === 'zero') return a.negative === b.negative ? zero(format, a.negative) : cancelled();
  const exact = a.kind === 'zero' ? (b as Finite) : b.kind === 'zero' ? a : exactSum(a, b);
  return exact === 'zero' ? cancelled() : round(format, exact, environment);
}

const negate = <T extends Unpacked>(value: T): T =>
  value.kind === 'nan' ? value : { ...value, negative: !value.negative };

export function add(format: Format, a: bigint, b: bigint, environment: Environment): bigint {
  return addUnpacked(format, unpack(format, a), unpack(format, b), environment);
}

export function subtract(format: Format, a: bigint, b: bigint, environment: Environment): bigint {
  return addUnpacked(format, unpack(format, a), negate(unpack(format, b)), environment);
}

function addUnpacked(format: Format, a: Unpacked, b: Unpacked, environment: Environment): bigint {
  if (a.kind === 'nan' || b.kind === 'nan') return propagate(format, [a, b], environment);
  return sumOf(format, a, b, environment);
}

/** The exact product; undefined for 0 × ∞. */
function product(a: Comparable, b: Comparable): Comparable | undefined {
  const negative = a.negative !== b.negative;
  if (a.kind === 'infinity' || b.kind === 'infinity') {
    return a.kind === 'zero' || b.kind === 'zero' ? undefined : { kind: 'infinity', negative };
  }
  if (a.kind === 'zero' || b.kind === 'zero') return { kind: 'zero', negative };
  const significand = a.significand * b.significand;
  return { kind: 'finite', negative, significand, exponent: a.exponent + b.exponent };
}

export function multiply(format: Format, a: bigint, b: bigint, environment: Environment): bigint {
  const left = unpack(format, a);
  const right = unpack(format, b);
  if (left.kind === 'nan' || right.kind === 'nan') return propagate(format, [left, right], environment);
  const result = product(left, right);
  if (!result) return invalid(format, environment);
  if (result.kind === 'finite') return round(format, result, environment);
  return result.kind === 'zero' ? zero(format, result.negative) : infinity(format, result.negative);
}

/** Which parts of a fused operation are negated. */
export interface Signs {
  readonly product: boolean;
  readonly addend: boolean;
}

/** ±(a × b) ± c, rounded once. 0 × ∞ is invalid even where c is a quiet NaN (unpriv-isa §20.6). */
export function fusedMultiplyAdd(
  format: Format,
  [a, b, c]: readonly [bigint, bigint, bigint],
  negated: Signs,
  environment: Environment,
): bigint {
  const operands = [unpack(format, a), unpack(format, b), unpack(format, c)] as const;
  const [left, right, addend] = operands;
  if (left.kind === 'nan' || right.kind === 'nan') return propagate(format, operands, environment);
  const result = product(left, right);
  if (!result) return invalid(format, environment);
  if (addend.kind === 'nan') return propagate(format, operands, environment);
  return sumOf(
    format,
    negated.product ? negate(result) : result,
    negated.addend ? negate(addend) : addend,
    environment,
  );
}

export function divide(format: Format, a: bigint, b: bigint, environment: Environment): bigint {
  const left = unpack(format, a);
  const right = unpack(format, b);
  if (left.kind === 'nan' || right.kind === 'nan') return propagate(format, [left, right], environment);
  const negative = left.negative !== right.negative;
  if (left.kind === 'infinity') {
    return right.kind === 'infinity' ? invalid(format, environment) : infinity(format, negative);
  }
  if (right.kind === 'infinity') return zero(format, negative);
  if (right.kind === 'zero') {
    if (left.kind === 'zero') return invalid(format, environment);
    environment.flags |= DZ;
    return infinity(format, negative);
  }
  if (left.kind === 'zero') return zero(format, negative);
  // so many more bits that the quotient has two beyond the precision, whatever the significands
  const shift = 2 * format.precision + 2;
  const dividend = left.significand << BigInt(shift);
  const significand = dividend / right.significand;
  const more = significand * right.significand !== dividend;
  return round(format, { negative, significand, exponent: left.exponent - right.exponent - shift, more }, environment);
}

export function squareRoot(format: Format, a: bigint, environment: Environment): bigint {
  const value = unpack(format, a);
  if (value.kind === 'nan') return propagate(format, [value], environment);
  if (value.kind === 'zero') return a; // also −0
  if (value.negative) return invalid(format, environment);
  if (value.kind === 'infinity') return a;
  // an even exponent, and a significand whose root has two bits beyond the precision
  const shift = 2 * (format.precision + 2) + (value.exponent & 1);
  const radicand = value.significand << BigInt(shift);
  const significand = integerRoot(radicand);
  const more = significand * significand !== radicand;
  return round(format, { negative: false, significand, exponent: (value.exponent - shift) / 2, more }, environment);
}

/** ⌊√n⌋ by Newton's method, from above. */
function integerRoot(n: bigint): bigint {
  let root = 1n << BigInt((bitLength(n) + 1) >> 1);
  for (;;) {
    const next = (root + n / root) >> 1n;
    if (next >= root) return root;
    root = next;
  }
}
