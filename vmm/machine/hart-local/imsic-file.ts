/**
 * An interrupt file of a hart's IMSIC, of M or S level (AIA 1.0 §3): 255 identities, as QEMU's
 * `virt` has them. Its state lies in shared memory: the interrupt thread makes identities pending
 * while the hart reads and claims them. Stores reach the file by a page on the bus
 * (shared/imsic-page.ts).
 *
 * MEIP or SEIP follows the file. A thread that changes the file drives the line and then looks at
 * the file again. So, of two threads, the last one to write the line has seen the file as it is. A
 * hart may see the line up for a moment after it claimed the last interrupt (mtopei or stopei reads
 * 0 then); AIA §3.9 lets software expect that.
 */
import type { InterruptFile } from '../../../guest/riscv/environment.ts';
import { IRQ_M_EXT, IRQ_S_EXT } from '../../../guest/riscv/isa.ts';
import { integer, list, object, type Shaped } from '../../../platform/shape.ts';
import { atomic32, atomic32s, bytes, defineShared, int32s, type SharedPart } from '../../../platform/shared.ts';
import { hartWords } from '../control/control-block.ts';
import { interruptTarget, type Level } from './interrupt-target.ts';
import type { Journal } from './journal.ts';

export const IMSIC_IDENTITIES = 255;
const WORDS = 8; // bit i of word w is identity 32w + i; identity 0 does not exist

const FileWords = defineShared('imsic interrupt file', {
  delivery: atomic32, // hart: eidelivery
  threshold: atomic32, // hart: eithreshold
  pad: bytes(56),
  pending: atomic32s(WORDS), // any thread sets bits with or; the hart clears them with and
  enabled: atomic32s(WORDS), // hart
});

export const IMSIC_FILE_BYTES = FileWords.size;

// Indirectly accessed registers (AIA §3.8).
const EIDELIVERY = 0x70;
const EITHRESHOLD = 0x72;
const EIP0 = 0x80;
const EIE0 = 0xc0;
const EIE63 = 0xff;

/** The bit of mip that a file of each level drives: MEIP, SEIP. */
export const EXTERNAL_LINE: Readonly<Record<Level, number>> = { machine: 1 << IRQ_M_EXT, supervisor: 1 << IRQ_S_EXT };

export const FILE_FIELDS = { delivery: integer, threshold: integer, pending: list(integer), enabled: list(integer) };
export const FILE_STATE = object(FILE_FIELDS);

export type FileState = Shaped<typeof FILE_STATE>;

const NO_BITS: readonly number[] = new Array<number>(WORDS).fill(0);

/** Of a file after a reset. */
export const RESET_FILE: FileState = { delivery: 0, threshold: 0, pending: NO_BITS, enabled: NO_BITS };

export class ImsicFile implements InterruptFile {
  readonly #file: Int32Array;
  readonly #lines: Int32Array;
  /** The word of the hart's lines, and the bit in it that this file drives. */
  readonly #line: number;
  readonly #bit: number;
  /** The interruptTarget of identity 0. */
  readonly #target: number;
  #journal: Journal | undefined;

  /** A view of the hart's file of this level, which drives the hart's line in `control`. */
  constructor(file: SharedPart, control: Int32Array, { hart, level }: { hart: number; level: Level }) {
    this.#file = int32s(file);
    this.#lines = control;
    this.#line = hartWords(hart).lines;
    this.#bit = EXTERNAL_LINE[level];
    this.#target = interruptTarget(hart, 0, level);
  }

  /**
   * Makes an identity pending, as a store to seteipnum does. Any thread may call it; the caller
   * wakes the hart.
   */
  setPending(identity: number): void {
    // AIA §3.5: values that are no identity are ignored
    if (identity < 1 || identity > IMSIC_IDENTITIES) return;
    // pairs with the load in #topIdentity
    Atomics.or(this.#file, FileWords.word.pending + (identity >>> 5), 1 << (identity & 31));
    this.#driveLine();
  }

  top(): number {
    const identity = this.#topIdentity();
    return (identity << 16) | identity;
  }

  claim(): number {
    const identity = this.#topIdentity();
    if (identity !== 0) {
      this.#journal?.claim(this.#target | identity); // before the bit is cleared
      Atomics.and(this.#file, FileWords.word.pending + (identity >>> 5), ~(1 << (identity & 31)));
    }
    this.#driveLine();
    return (identity << 16) | identity;
  }

  readRegister(select: number): bigint {
    if (select === EIDELIVERY) return BigInt(Atomics.load(this.#file, FileWords.word.delivery));
    if (select === EITHRESHOLD) return BigInt(Atomics.load(this.#file, FileWords.word.threshold));
    const at = arrayIndex(select);
    return at === undefined ? 0n : (BigInt(this.#word(at + 1)) << 32n) | BigInt(this.#word(at));
  }

  writeRegister(select: number, value: bigint): void {
    if (select === EIDELIVERY) Atomics.store(this.#file, FileWords.word.delivery, Number(value & 1n));
    else if (select === EITHRESHOLD) Atomics.store(this.#file, FileWords.word.threshold, Number(value & 0xffn));
    else {
      const at = arrayIndex(select);
      if (at === undefined) return;
      // The other registers are as they were published; pending bits are as they are.
      if (select < EIE0) this.#journal?.access('interrupt file', select);
      // identity 0 is read-only zero
      const low = select === EIP0 || select === EIE0 ? value & ~1n : value;
      this.#writeWord(at, Number(BigInt.asIntN(32, low)));
      this.#writeWord(at + 1, Number(BigInt.asIntN(32, low >> 32n)));
    }
    this.#driveLine();
  }

  /** A word of eip or eie. To the journal, a pending bit that is written away is a claim. */
  #writeWord(at: number, value: number): void {
    const first = 32 * (at - FileWords.word.pending);
    for (;;) {
      const old = Atomics.load(this.#file, at);
      if (this.#journal && first < 32 * WORDS) {
        for (let away = old & ~value; away !== 0; away &= away - 1) {
          this.#journal.claim(this.#target | (first + 31 - Math.clz32(away & -away)));
        }
      }
      if (Atomics.compareExchange(this.#file, at, old, value) === old) return;
    }
  }

  /** Claims go into the journal from now on. */
  journalTo(journal: Journal | undefined): void {
    this.#journal = journal;
  }

  reset(): void {
    this.restore(RESET_FILE);
  }

  /** To be called only while no other thread sets interrupts pending. */
  save(): FileState {
    return {
      delivery: this.#word(FileWords.word.delivery),
      threshold: this.#word(FileWords.word.threshold),
      pending: this.#words(FileWords.word.pending),
      enabled: this.#words(FileWords.word.enabled),
    };
  }

  restore(state: FileState): void {
    Atomics.store(this.#file, FileWords.word.delivery, state.delivery);
    Atomics.store(this.#file, FileWords.word.threshold, state.threshold);
    for (let word = 0; word < WORDS; word++) {
      Atomics.store(this.#file, FileWords.word.pending + word, state.pending[word] ?? 0);
      Atomics.store(this.#file, FileWords.word.enabled + word, state.enabled[word] ?? 0);
    }
    this.#driveLine();
  }

  /**
   * The pending and enabled identity of highest priority, i.e. the lowest, below the threshold (AIA
   * §3.8.2); 0 if none.
   */
  #topIdentity(): number {
    const threshold = Atomics.load(this.#file, FileWords.word.threshold);
    for (let word = 0; word < WORDS; word++) {
      const ready =
        Atomics.load(this.#file, FileWords.word.pending + word) &
        Atomics.load(this.#file, FileWords.word.enabled + word);
      if (ready === 0) continue;
      const identity = 32 * word + (31 - Math.clz32(ready & -ready));
      return threshold !== 0 && identity >= threshold ? 0 : identity;
    }
    return 0;
  }

  #wanted(): boolean {
    return Atomics.load(this.#file, FileWords.word.delivery) === 1 && this.#topIdentity() !== 0;
  }

  #driveLine(): void {
    for (let wanted = this.#wanted(); ; wanted = this.#wanted()) {
      if (wanted) Atomics.or(this.#lines, this.#line, this.#bit);
      else Atomics.and(this.#lines, this.#line, ~this.#bit);
      // pairs with the stores of the other threads, see the header
      if (this.#wanted() === wanted) return;
    }
  }

  #word(at: number): number {
    return Atomics.load(this.#file, at) >>> 0;
  }

  // HOT while publishing: Array.from takes five times as long
  #words(at: number): number[] {
    const words: number[] = [];
    for (let word = 0; word < WORDS; word++) words.push(this.#word(at + word));
    return words;
  }
}

/**
 * Index of the low word of eip<k> or eie<k>, k even; undefined beyond the identities this file has.
 */
function arrayIndex(select: number): number | undefined {
  if (select < EIP0 || select > EIE63) return undefined;
  const [base, k] = select < EIE0 ? [FileWords.word.pending, select - EIP0] : [FileWords.word.enabled, select - EIE0];
  return k < WORDS ? base + k : undefined;
}
