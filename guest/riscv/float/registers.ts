import { DOUBLE, type Environment, type Format, RNE, type RoundingMode, SINGLE } from './format.ts';

/**
 * f0–f31 and fcsr of a hart (unpriv-isa §20.1, §20.2). It is the environment of its operations:
 * they raise exceptions in its `flags`.
 */
export class FloatRegisters implements Environment {
  /** f0–f31 as bits, signed. */
  readonly bits: BigInt64Array;
  readonly halves: Int32Array;
  readonly doubles: Float64Array;
  readonly #singles: Float32Array;
  readonly #fcsr: Int32Array;
  /** The rounding mode of the instruction that is executed. */
  mode: RoundingMode = RNE;

  /** `bits` and `fcsr` (fflags, frm) are the memory of the registers. */
  constructor(bits: BigInt64Array = new BigInt64Array(32), fcsr: Int32Array = new Int32Array(2)) {
    this.bits = bits;
    this.halves = new Int32Array(bits.buffer, bits.byteOffset, 64);
    this.doubles = new Float64Array(bits.buffer, bits.byteOffset, 32);
    this.#singles = new Float32Array(bits.buffer, bits.byteOffset, 64);
    this.#fcsr = fcsr;
  }

  /** fflags */
  get flags(): number {
    return this.#fcsr[0]!;
  }

  set flags(value: number) {
    this.#fcsr[0] = value;
  }

  /** frm: all three bits, 5–7 too, which no instruction can use. */
  get frm(): number {
    return this.#fcsr[1]!;
  }

  set frm(value: number) {
    this.#fcsr[1] = value;
  }

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
