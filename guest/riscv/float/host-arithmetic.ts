/**
 * Sums, products and quotients by the host's own floating point, where it is proven that they are
 * what arithmetic.ts gives: 20 times faster. ECMAScript's numbers are binary64 and its + − × ÷ and
 * Math.fround round to nearest, ties to even (ECMA-262 §6.1.6.1), so all of this is for that mode.
 * A function returns NaN where it gives no answer, and then has raised nothing.
 *
 * Results that are subnormal, infinite or NaN are never answered; so UF, OF, DZ and NV cannot be
 * missed. NX is known by an exact error term, or is set already, or there is no answer.
 *
 * binary32 in binary64: rounding twice is rounding once for + − × ÷, since 53 ≥ 2 × 24 + 2
 * (Figueroa, "When is double rounding innocuous?", 1995).
 */
import { type Environment, NX, RNE } from './format.ts';

const SMALLEST_NORMAL = 2 ** -1022;
const SMALLEST_NORMAL_SINGLE = 2 ** -126;

/** In these ranges no step of a fused operation underflows or overflows. */
const SAFE_SMALL = 2 ** -800;
const SAFE_LARGE = 2 ** 900;

/** The error of a + b, exactly (Knuth's TwoSum); not finite if a step overflows. */
function sumError(a: number, b: number, sum: number): number {
  const second = sum - a;
  return a - (sum - second) + (b - second);
}

/** Takes `sum` as the result, raising NX as `error` demands. */
function sumWithError(environment: Environment, sum: number, error: number): number {
  if (error === 0) return sum;
  if (!Number.isFinite(error)) return Number.NaN;
  environment.flags |= NX;
  return sum;
}

/** a + b in binary64. A sum is never inexact where it is subnormal. */
export function addDouble(environment: Environment, a: number, b: number): number {
  const sum = a + b;
  if (environment.mode !== RNE || !Number.isFinite(sum)) return Number.NaN;
  return environment.flags & NX ? sum : sumWithError(environment, sum, sumError(a, b, sum));
}

export function multiplyDouble(environment: Environment, a: number, b: number): number {
  return ifUsual(environment, a * b, a === 0 || b === 0);
}

export function divideDouble(environment: Environment, a: number, b: number): number {
  return ifUsual(environment, a / b, a === 0);
}

/** A product or quotient in binary64, for which NX must be set already unless it is 0 exactly. */
function ifUsual(environment: Environment, result: number, isZero: boolean): number {
  if (environment.mode !== RNE) return Number.NaN;
  if (isZero) return result;
  const magnitude = Math.abs(result);
  return environment.flags & NX && magnitude > SMALLEST_NORMAL && magnitude < Number.POSITIVE_INFINITY
    ? result
    : Number.NaN;
}

/**
 * a × b + c in binary64, NX being set already: Boldo and Melquiond, "Emulation of a FMA and
 * correctly rounded sums", IEEE Transactions on Computers 57(4), 2008, figure 5.
 */
export function fusedDouble(environment: Environment, a: number, b: number, c: number): number {
  if (environment.mode !== RNE || (environment.flags & NX) === 0) return Number.NaN;
  const product = a * b;
  const magnitude = Math.abs(product);
  if (!(magnitude > SAFE_SMALL && magnitude < SAFE_LARGE && Math.abs(c) < SAFE_LARGE)) return Number.NaN;
  if (!(Math.abs(a) < SAFE_LARGE && Math.abs(b) < SAFE_LARGE)) return Number.NaN;
  const productError = multiplyError(a, b, product);
  const low = c + productError;
  const lowError = sumError(c, productError, low);
  const high = product + low;
  const highError = sumError(product, low, high);
  const result = high + addToOdd(lowError, highError);
  return Math.abs(result) > SAFE_SMALL ? result : Number.NaN;
}

/** The error of a × b, exactly (Dekker's product with Veltkamp's splitting at 27 bits). */
function multiplyError(a: number, b: number, product: number): number {
  const aBig = a * 134_217_729;
  const aHigh = aBig - (aBig - a);
  const aLow = a - aHigh;
  const bBig = b * 134_217_729;
  const bHigh = bBig - (bBig - b);
  const bLow = b - bHigh;
  return aLow * bLow - (product - aHigh * bHigh - aLow * bHigh - aHigh * bLow);
}

const float = new Float64Array(1);
const bits = new BigInt64Array(float.buffer);

/** a + b, where inexact the one of both neighbours whose significand is odd. */
function addToOdd(a: number, b: number): number {
  const sum = a + b;
  const error = sumError(a, b, sum);
  if (error === 0) return sum;
  float[0] = sum;
  // one further from 0, or nearer
  if ((bits[0]! & 1n) === 0n) bits[0] = bits[0]! + (error > 0 === sum > 0 ? 1n : -1n);
  return float[0]!;
}

/** The binary32 number that `exact` rounds to; `rest`: `exact` itself was rounded. */
function toSingle(environment: Environment, exact: number, rest: boolean): number {
  if (environment.mode !== RNE) return Number.NaN;
  if (exact === 0 && !rest) return exact;
  const result = Math.fround(exact);
  const magnitude = Math.abs(result);
  if (!(magnitude > SMALLEST_NORMAL_SINGLE && magnitude < Number.POSITIVE_INFINITY)) return Number.NaN;
  if (rest || result !== exact) environment.flags |= NX;
  return result;
}

export function addSingle(environment: Environment, a: number, b: number): number {
  const sum = a + b;
  return toSingle(environment, sum, sumError(a, b, sum) !== 0);
}

/** The product of two 24-bit significands is exact in 53 bits. */
export function multiplySingle(environment: Environment, a: number, b: number): number {
  return toSingle(environment, a * b, false);
}

/** A quotient that fits 24 bits is exact if its product with b is a again. */
export function divideSingle(environment: Environment, a: number, b: number): number {
  const quotient = a / b;
  return toSingle(environment, quotient, Math.fround(quotient) === quotient && quotient * b !== a);
}

/** The product is exact; the sum, rounded to odd, rounds to 24 bits as the exact one does. */
export function fusedSingle(environment: Environment, a: number, b: number, c: number): number {
  const product = a * b;
  const sum = product + c;
  if (!Number.isFinite(sum)) return Number.NaN;
  return toSingle(environment, addToOdd(product, c), sumError(product, c, sum) !== 0);
}
