/**
 * Numbers of IEEE 754-2019 as bits and taken apart. Bits are unsigned bigints. Every finite number
 * is ± significand × 2^exponent with a bigint significand, so sums and products are exact.
 */

/** What distinguishes binary32 and binary64. */
export interface Format {
  readonly bits: 32 | 64;
  /** Bits of the significand, the hidden one included. */
  readonly precision: number;
  /** Exponents of the smallest and largest normal number, as ± 1.f × 2^e. */
  readonly emin: number;
  readonly emax: number;
  readonly signBit: bigint;
  readonly infinity: bigint;
  /** The canonical NaN (unpriv-isa §20.3). */
  readonly nan: bigint;
}

export const SINGLE: Format = {
  bits: 32,
  precision: 24,
  emin: -126,
  emax: 127,
  signBit: 1n << 31n,
  infinity: 0x7f80_0000n,
  nan: 0x7fc0_0000n,
};

export const DOUBLE: Format = {
  bits: 64,
  precision: 53,
  emin: -1022,
  emax: 1023,
  signBit: 1n << 63n,
  infinity: 0x7ff0_0000_0000_0000n,
  nan: 0x7ff8_0000_0000_0000n,
};

/** Rounding modes, by their number in frm and rm (unpriv-isa §20.2). */
export const RNE = 0;
export const RTZ = 1;
export const RDN = 2;
export const RUP = 3;
export const RMM = 4;
/** In an instruction: the mode in frm. */
export const DYN = 7;
export type RoundingMode = 0 | 1 | 2 | 3 | 4;

/** The accrued exceptions, by their bits in fflags. */
export const NX = 1 << 0;
export const UF = 1 << 1;
export const OF = 1 << 2;
export const DZ = 1 << 3;
export const NV = 1 << 4;

/** What an operation needs beside its operands: how to round, and where to raise exceptions. */
export interface Environment {
  readonly mode: RoundingMode;
  /** fflags: an operation sets bits and clears none. */
  flags: number;
}

export interface Finite {
  readonly kind: 'finite';
  readonly negative: boolean;
  readonly significand: bigint;
  readonly exponent: number;
}

/** What is no NaN. */
export type Comparable =
  | { readonly kind: 'zero'; readonly negative: boolean }
  | { readonly kind: 'infinity'; readonly negative: boolean }
  | Finite;

export type Unpacked = Comparable | { readonly kind: 'nan'; readonly signaling: boolean };

export function unpack({ precision, emin, signBit, infinity }: Format, bits: bigint): Unpacked {
  const negative = (bits & signBit) !== 0n;
  const magnitude = bits & (signBit - 1n);
  if (magnitude === 0n) return { kind: 'zero', negative };
  if (magnitude === infinity) return { kind: 'infinity', negative };
  const hidden = 1n << BigInt(precision - 1);
  // a quiet NaN has the first bit of its fraction set
  if (magnitude > infinity) return { kind: 'nan', signaling: (magnitude & (hidden >> 1n)) === 0n };
  const biased = Number(magnitude / hidden);
  const fraction = magnitude & (hidden - 1n);
  const exponent = (biased === 0 ? 1 : biased) - 1 + emin - (precision - 1);
  return { kind: 'finite', negative, significand: biased === 0 ? fraction : fraction | hidden, exponent };
}

/** Bits that a positive integer takes. */
export function bitLength(value: bigint): number {
  let length = 0;
  let rest = value;
  while (rest >= 1n << 32n) {
    rest >>= 32n;
    length += 32;
  }
  return length + 32 - Math.clz32(Number(rest));
}

export const zero = ({ signBit }: Format, negative: boolean): bigint => (negative ? signBit : 0n);
export const infinity = (format: Format, negative: boolean): bigint =>
  negative ? format.signBit | format.infinity : format.infinity;
