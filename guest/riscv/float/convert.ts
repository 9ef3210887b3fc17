/** Conversions between formats and with integers (unpriv-isa §20.7, §21.5). */
import { type Environment, type Format, infinity, NV, NX, unpack, zero } from './format.ts';
import { round, roundToUnits } from './round.ts';

/** FCVT.S.D, FCVT.D.S. A NaN becomes the canonical one. */
export function convertFormat(from: Format, to: Format, bits: bigint, environment: Environment): bigint {
  const value = unpack(from, bits);
  switch (value.kind) {
    case 'nan':
      if (value.signaling) environment.flags |= NV;
      return to.nan;
    case 'infinity':
      return infinity(to, value.negative);
    case 'zero':
      return zero(to, value.negative);
    case 'finite':
      return round(to, value, environment);
  }
}

/** FCVT.fmt.W[U] and FCVT.fmt.L[U] of an integer of any size. */
export function fromInteger(format: Format, value: bigint, environment: Environment): bigint {
  if (value === 0n) return 0n;
  const negative = value < 0n;
  return round(format, { negative, significand: negative ? -value : value, exponent: 0 }, environment);
}

export interface IntegerType {
  readonly bits: 32 | 64;
  readonly signed: boolean;
}

/**
 * FCVT.W[U].fmt and FCVT.L[U].fmt: the integer that `bits` rounds to. What does not fit becomes the
 * nearest integer of the type and raises NV alone; a NaN becomes the largest.
 */
export function toInteger(format: Format, type: IntegerType, bits: bigint, environment: Environment): bigint {
  const width = BigInt(type.bits);
  const largest = type.signed ? (1n << (width - 1n)) - 1n : (1n << width) - 1n;
  const smallest = type.signed ? -(1n << (width - 1n)) : 0n;
  const value = unpack(format, bits);
  if (value.kind === 'zero') return 0n;
  if (value.kind === 'finite') {
    const { units, inexact } = roundToUnits(value, 0, environment.mode);
    const integer = value.negative ? -units : units;
    if (integer >= smallest && integer <= largest) {
      if (inexact) environment.flags |= NX;
      return integer;
    }
  }
  environment.flags |= NV;
  return value.kind !== 'nan' && value.negative ? smallest : largest;
}
