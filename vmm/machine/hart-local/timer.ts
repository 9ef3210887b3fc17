/**
 * The part of the CLINT that belongs to one hart (docs/machine.md, "CLINT"): msip, mtimecmp, and
 * the lines that they drive. mtimecmp is a shared word and msip is the line itself, so any hart's
 * store can reach them. A thread that stores to another hart's word wakes that hart, and that hart
 * drives its timer's line anew before its next slice.
 */
import { bigUint64s, int32s, type SharedPart } from '../../../platform/shared.ts';
import { hartWords, hartWords64 } from '../control/control-block.ts';

const MIP_MSIP = 1 << 3;
const MIP_MTIP = 1 << 7;

export class Timer {
  readonly #lines: Int32Array;
  readonly #line: number;
  readonly #longs: BigUint64Array;
  readonly #compare: number;
  readonly #mtime: () => bigint;
  #up = false;

  /** The timer of this hart, in the ControlBlocks in `control`. One per thread. */
  constructor(control: SharedPart, hart: number, mtime: () => bigint) {
    this.#lines = int32s(control);
    this.#line = hartWords(hart).lines;
    this.#longs = bigUint64s(control);
    this.#compare = hartWords64(hart).mtimecmp;
    this.#mtime = mtime;
  }

  get msip(): boolean {
    return (Atomics.load(this.#lines, this.#line) & MIP_MSIP) !== 0;
  }

  set msip(on: boolean) {
    this.#drive(MIP_MSIP, on);
  }

  /** Unsigned. */
  get mtimecmp(): bigint {
    return this.#longs[this.#compare]!; // V8 makes one machine access of it
  }

  /** `update` must be called afterwards. */
  set mtimecmp(value: bigint) {
    // Before the wake, where another hart stores it: pairs with the load of `wake` in vcpu.ts.
    this.#longs[this.#compare] = value;
  }

  /** Drives MTIP by the present time (priv-isa §3.2.1). */
  update(): void {
    this.#up = this.#mtime() >= this.mtimecmp;
    this.#drive(MIP_MTIP, this.#up);
  }

  /**
   * Ticks until `update` would raise MTIP, unless it is up already, or until mtime is `deadline`,
   * if there is one; undefined if there is nothing to wait for.
   */
  ticksLeft(deadline: bigint | undefined): bigint | undefined {
    const compare = this.#up ? undefined : this.mtimecmp;
    const due = compare === undefined || (deadline !== undefined && deadline < compare) ? deadline : compare;
    if (due === undefined) return undefined;
    const left = due - this.#mtime();
    return left > 0n ? left : 0n;
  }

  /**
   * The first mtime after the present one at which MTIP rises, or that is `deadline`; undefined if
   * there is none.
   */
  next(deadline: bigint | undefined): bigint | undefined {
    const now = this.#mtime();
    const compare = this.mtimecmp;
    const due = deadline !== undefined && deadline > now ? deadline : undefined;
    if (compare <= now) return due;
    return due !== undefined && due < compare ? due : compare;
  }

  #drive(bit: number, on: boolean): void {
    if (on) Atomics.or(this.#lines, this.#line, bit);
    else Atomics.and(this.#lines, this.#line, ~bit);
  }
}
