/**
 * The CSRs that a trap writes and xRET reads (priv-isa §3.1.6–8, §3.1.13–16, §10.1), and the mode,
 * as memory: a translator keeps them where its code can reach them, beside the registers. 64-bit
 * values are unsigned.
 */
import { MODE_M, MSTATUS_MPP } from './isa.ts';

/** Words of 64 bits. Those of S mode lie like those of M mode, SUPERVISOR words behind them. */
export const TVEC = 0;
export const EPC = 1;
export const CAUSE = 2;
export const TVAL = 3;
export const SCRATCH = 4;
export const SUPERVISOR = 5;
/** float64: instructions that trapped. */
export const TRAPPED = 10;
/** int32, as the low half of a word. */
export const MODE = 11;
export const MSTATUS = 12;
export const MEDELEG = 13;

const WORDS = 14;
export const TRAP_REGISTERS_BYTES = 8 * WORDS;

/** All zero, in memory of their own. */
export const newTrapWords = (): BigUint64Array => new BigUint64Array(WORDS);

/** The registers after a reset in `words`, which are not to be written by anybody else. */
export class TrapRegisters {
  readonly #words: BigUint64Array;
  readonly #i32: Int32Array;
  readonly #f64: Float64Array;

  constructor(words = newTrapWords()) {
    this.#words = words;
    this.#i32 = new Int32Array(words.buffer, words.byteOffset, 2 * WORDS);
    this.#f64 = new Float64Array(words.buffer, words.byteOffset, WORDS);
    words.fill(0n);
    this.mode = MODE_M;
    // priv-isa §3.4 leaves MPP open; it is M, as it is always on a hart of M mode only
    this.mstatus = MSTATUS_MPP;
  }

  /** U 0, S 1, M 3 */
  get mode(): number {
    return this.#i32[2 * MODE]!;
  }

  set mode(value: number) {
    this.#i32[2 * MODE] = value;
  }

  /** The bits of MSTATUS_MASK. */
  get mstatus(): number {
    return this.#i32[2 * MSTATUS]!;
  }

  set mstatus(value: number) {
    this.#i32[2 * MSTATUS] = value;
  }

  get medeleg(): number {
    return this.#i32[2 * MEDELEG]!;
  }

  set medeleg(value: number) {
    this.#i32[2 * MEDELEG] = value;
  }

  /** Instructions since construction that trapped and so did not retire (priv-isa §3.3.1). */
  get trapped(): number {
    return this.#f64[TRAPPED]!;
  }

  set trapped(value: number) {
    this.#f64[TRAPPED] = value;
  }

  get mtvec(): bigint {
    return this.#words[TVEC]!;
  }

  set mtvec(value: bigint) {
    this.#words[TVEC] = value;
  }

  get mepc(): bigint {
    return this.#words[EPC]!;
  }

  set mepc(value: bigint) {
    this.#words[EPC] = value;
  }

  get mcause(): bigint {
    return this.#words[CAUSE]!;
  }

  set mcause(value: bigint) {
    this.#words[CAUSE] = value;
  }

  get mtval(): bigint {
    return this.#words[TVAL]!;
  }

  set mtval(value: bigint) {
    this.#words[TVAL] = value;
  }

  get mscratch(): bigint {
    return this.#words[SCRATCH]!;
  }

  set mscratch(value: bigint) {
    this.#words[SCRATCH] = value;
  }

  get stvec(): bigint {
    return this.#words[SUPERVISOR + TVEC]!;
  }

  set stvec(value: bigint) {
    this.#words[SUPERVISOR + TVEC] = value;
  }

  get sepc(): bigint {
    return this.#words[SUPERVISOR + EPC]!;
  }

  set sepc(value: bigint) {
    this.#words[SUPERVISOR + EPC] = value;
  }

  get scause(): bigint {
    return this.#words[SUPERVISOR + CAUSE]!;
  }

  set scause(value: bigint) {
    this.#words[SUPERVISOR + CAUSE] = value;
  }

  get stval(): bigint {
    return this.#words[SUPERVISOR + TVAL]!;
  }

  set stval(value: bigint) {
    this.#words[SUPERVISOR + TVAL] = value;
  }

  get sscratch(): bigint {
    return this.#words[SUPERVISOR + SCRATCH]!;
  }

  set sscratch(value: bigint) {
    this.#words[SUPERVISOR + SCRATCH] = value;
  }
}
