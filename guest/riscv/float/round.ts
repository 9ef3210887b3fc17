/**
 * The one place where a result is rounded (IEEE 754-2019 §4.3, §7). Every operation of
 * arithmetic.ts gives it the exact result.
 */
import {
  bitLength,
  type Environment,
  type Format,
  infinity,
  NX,
  OF,
  RDN,
  RMM,
  RNE,
  type RoundingMode,
  RTZ,
  RUP,
  UF,
} from './format.ts';

/** An exact value: ± (significand + d) × 2^exponent, where 0 < d < 1 if `more`, and else d = 0. */
export interface Exact {
  readonly negative: boolean;
  /** Not 0. If `more`, it has at least two bits beyond the precision. */
  readonly significand: bigint;
  readonly exponent: number;
  readonly more?: boolean;
}

/** A whole number of units, and whether something was cut off or added to get it. */
export interface Rounded {
  readonly units: bigint;
  readonly inexact: boolean;
}

/** The magnitude of `value` in units of 2^unit, rounded to a whole number. */
export function roundToUnits(value: Exact, unit: number, mode: RoundingMode): Rounded {
  const { negative, significand, exponent, more = false } = value;
  if (unit <= exponent) return { units: significand << BigInt(exponent - unit), inexact: false };
  const shift = BigInt(unit - exponent);
  const units = significand >> shift;
  const rest = significand - (units << shift);
  const half = 1n << (shift - 1n);
  const inexact = rest !== 0n || more;
  let up = false;
  switch (mode) {
    case RNE:
      up = rest > half || (rest === half && (more || (units & 1n) === 1n));
      break;
    case RTZ:
      break;
    case RDN:
      up = inexact && negative;
      break;
    case RUP:
      up = inexact && !negative;
      break;
    case RMM:
      up = rest >= half;
  }
  return { units: up ? units + 1n : units, inexact };
}

/** The number of `format` that `value` becomes; raises NX, UF and OF. */
export function round(format: Format, value: Exact, environment: Environment): bigint {
  const { precision, emin, emax } = format;
  const { negative } = value;
  // ± 1.f × 2^leading
  const leading = value.exponent + bitLength(value.significand) - 1;
  const subnormal = leading < emin;
  const scale = subnormal ? emin : leading;
  const { units, inexact } = roundToUnits(value, scale - (precision - 1), environment.mode);

  const hidden = 1n << BigInt(precision - 1);
  // Rounding up may give the next power of two, where the fraction is 0 anyway.
  const overflow = scale + (units === hidden << 1n ? 1 : 0) > emax;
  if (overflow) {
    environment.flags |= OF | NX;
    return overflowed(format, negative, environment.mode);
  }
  if (inexact) {
    environment.flags |= NX;
    if (subnormal && isTiny(format, value, leading, environment.mode)) environment.flags |= UF;
  }
  // The hidden bit counts 1 in the field of the exponent, and so does the carry of a rounding up.
  const exponentField = BigInt(scale - emin) << BigInt(precision - 1);
  return (negative ? format.signBit : 0n) | (exponentField + units);
}

/** IEEE 754-2019 §7.4 */
function overflowed(format: Format, negative: boolean, mode: RoundingMode): bigint {
  const toInfinity = mode === RNE || mode === RMM || mode === (negative ? RDN : RUP);
  return toInfinity ? infinity(format, negative) : infinity(format, negative) - 1n;
}

/**
 * RISC-V detects tininess after rounding (unpriv-isa §20.2): with the exponent unbounded, is the
 * result below the smallest normal number? `leading` is below emin already.
 */
function isTiny({ precision, emin }: Format, value: Exact, leading: number, mode: RoundingMode): boolean {
  if (leading < emin - 1) return true;
  return roundToUnits(value, leading - (precision - 1), mode).units < 1n << BigInt(precision);
}
