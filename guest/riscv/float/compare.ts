/**
 * Comparisons, minimum, maximum and classes (unpriv-isa §20.8, §20.9, §20.6). Numbers of one format
 * are compared by their bits, so no value is ever rounded.
 */
import { type Environment, type Format, NV, unpack } from './format.ts';

const isNan = ({ signBit, infinity }: Format, bits: bigint): boolean => (bits & (signBit - 1n)) > infinity;

function isSignaling(format: Format, bits: bigint): boolean {
  const value = unpack(format, bits);
  return value.kind === 'nan' && value.signaling;
}

/** An integer that orders the numbers of a format; −0 is 0. */
function order({ signBit }: Format, bits: bigint): bigint {
  const magnitude = bits & (signBit - 1n);
  return bits & signBit ? -magnitude : magnitude;
}

/** FEQ is a quiet comparison: only a signaling NaN is invalid. */
export function equal(format: Format, a: bigint, b: bigint, environment: Environment): boolean {
  if (isSignaling(format, a) || isSignaling(format, b)) environment.flags |= NV;
  return !isNan(format, a) && !isNan(format, b) && order(format, a) === order(format, b);
}

/** FLT and FLE are signaling ones: any NaN is invalid. */
export function less(format: Format, a: bigint, b: bigint, environment: Environment): boolean {
  return ordered(format, a, b, environment) && order(format, a) < order(format, b);
}

export function lessOrEqual(format: Format, a: bigint, b: bigint, environment: Environment): boolean {
  return ordered(format, a, b, environment) && order(format, a) <= order(format, b);
}

function ordered(format: Format, a: bigint, b: bigint, environment: Environment): boolean {
  if (!isNan(format, a) && !isNan(format, b)) return true;
  environment.flags |= NV;
  return false;
}

/** FMIN; −0 is less than +0, and a number wins over a NaN. */
export function minimum(format: Format, a: bigint, b: bigint, environment: Environment): bigint {
  const number = numberOf(format, a, b, environment);
  if (number !== undefined) return number;
  if (order(format, a) === order(format, b)) return a | b; // the same, or zeros: −0 if one is
  return order(format, a) < order(format, b) ? a : b;
}

export function maximum(format: Format, a: bigint, b: bigint, environment: Environment): bigint {
  const number = numberOf(format, a, b, environment);
  if (number !== undefined) return number;
  if (order(format, a) === order(format, b)) return a & b;
  return order(format, a) > order(format, b) ? a : b;
}

/** FMIN and FMAX where one operand is a NaN, or both; undefined where none is. */
function numberOf(format: Format, a: bigint, b: bigint, environment: Environment): bigint | undefined {
  if (isSignaling(format, a) || isSignaling(format, b)) environment.flags |= NV;
  if (isNan(format, a)) return isNan(format, b) ? format.nan : b;
  return isNan(format, b) ? a : undefined;
}

/** FCLASS: one of ten bits. */
export function classify(format: Format, bits: bigint): bigint {
  const value = unpack(format, bits);
  switch (value.kind) {
    case 'nan':
      return value.signaling ? 1n << 8n : 1n << 9n;
    case 'infinity':
      return value.negative ? 1n << 0n : 1n << 7n;
    case 'zero':
      return value.negative ? 1n << 3n : 1n << 4n;
    case 'finite': {
      const normal = value.significand >= 1n << BigInt(format.precision - 1);
      if (normal) return value.negative ? 1n << 1n : 1n << 6n;
      return value.negative ? 1n << 2n : 1n << 5n;
    }
  }
}
