/** Floating-point operands that reach every path: corners, neighbours of corners, numbers alike. */
import fc from 'fast-check';

import { DOUBLE, type Format, SINGLE } from '../../../../guest/riscv/float/format.ts';

const view = new DataView(new ArrayBuffer(8));

export function bitsOf(format: Format, value: number): bigint {
  if (format === SINGLE) {
    view.setFloat32(0, value);
    return BigInt(view.getUint32(0));
  }
  view.setFloat64(0, value);
  return view.getBigUint64(0);
}

export function numberOf(format: Format, bits: bigint): number {
  if (format === SINGLE) {
    view.setUint32(0, Number(bits));
    return view.getFloat32(0);
  }
  view.setBigUint64(0, bits);
  return view.getFloat64(0);
}

const CORNERS = [0, 1, 2, 0.5, 1.5, 3, 1 / 3, 2 ** 31, 2 ** 32, 2 ** 53, 2 ** 63, 2 ** 64, 65537];

/** Bits of a number of `format`. */
export function operand(format: Format): fc.Arbitrary<bigint> {
  const all = (1n << BigInt(format.bits)) - 1n;
  const fraction = (1n << BigInt(format.precision - 1)) - 1n;
  const corners = [
    ...CORNERS.map((value) => bitsOf(format, value)),
    1n, // the smallest subnormal number
    fraction, // the largest
    fraction + 1n, // the smallest normal number
    format.infinity - 1n, // the largest
    format.infinity,
    format.infinity + 1n, // a signaling NaN
    format.nan,
  ];
  const sign = fc.constantFrom(0n, format.signBit);
  const near = fc
    .tuple(fc.constantFrom(...corners), fc.bigInt(-2n, 2n), sign)
    .map(([corner, step, negative]) => (((corner + step) & all) % format.signBit) | negative);
  const exponent = fc.integer({ min: -60, max: 60 });
  const moderate = fc
    .tuple(exponent, fc.bigInt(0n, fraction), sign)
    .map(([e, f, negative]) => (bitsOf(format, 2 ** e) & ~fraction) | f | negative);
  const short = fc
    .tuple(exponent, fc.integer({ min: 0, max: 255 }), sign)
    .map(([e, f, negative]) => bitsOf(format, 2 ** e * (1 + f / 256)) | negative);
  return fc.oneof(near, moderate, short, fc.bigInt(0n, all));
}

export const formats = [
  ['binary32', SINGLE],
  ['binary64', DOUBLE],
] as const;
