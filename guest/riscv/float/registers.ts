import { DOUBLE, type Environment, type Format, RNE, type RoundingMode, SINGLE } from './format.ts';

/**
 * f0–f31 and fcsr of a hart (unpriv-isa §20.1, §20.2). It is the environment of its operations:
 * they raise exceptions in its `flags`.
 */
export class FloatRegisters implements Environment {
  /** f0–f31 as bits, signed. */
  readonly bits = new BigInt64Array(32);
  readonly halves = new Int32Array(this.bits.buffer);
  readonly doubles = new Float64Array(this.bits.buffer);
  readonly #singles = new Float32Array(this.bits.buffer);
  /** The rounding mode of the instruction that is executed. */
  mode: RoundingMode = RNE;
  /** fflags */
  flags = 0;
  /** frm: all three bits, 5–7 too, which no instruction can use. */
  frm = 0;

  /**
   * A number of `format` in f[index]. A single is valid only if all bits above it are ones; else it
   * reads as the canonical NaN (unpriv-isa §21.2, NaN boxing).
   */
  read(format: Format, index: number): bigint {
    if (format === DOUBLE) return BigInt.asUintN(64, this.bits[index]!);
    return this.halves[2 * index + 1] === -1 ? BigInt(this.halves[2 * index]! >>> 0) : SINGLE.nan;
  }

  write(format: Format, index: number, bits: bigint): void {
    this.bits[index] = format === DOUBLE ? bits : bits | (0xffff_ffffn << 32n);
  }

  /** The single in f[index]; NaN if it is none. */
  readSingle(index: number): number {
    return this.halves[2 * index + 1] === -1 ? this.#singles[2 * index]! : Number.NaN;
  }

  writeSingle(index: number, value: number): void {
    this.#singles[2 * index] = value;
    this.halves[2 * index + 1] = -1;
  }
}
