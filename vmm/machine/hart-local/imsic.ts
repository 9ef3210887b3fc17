/**
 * The IMSIC interrupt file of one hart, M level (AIA 1.0 §3): 255 identities, as QEMU's `virt` has
 * them. Its state lies in shared memory: the interrupt thread makes identities pending while the
 * hart reads and claims them. Stores reach the file by a page on the bus (shared/imsic-page.ts).
 *
 * MEIP follows the file. A thread that changes the file drives the line and then looks at the file
 * again. So, of two threads, the last one to write the line has seen the file as it is. A hart may
 * see MEIP for a moment after it claimed the last interrupt (mtopei reads 0 then); AIA §3.9 lets
 * software expect that.
 */
import type { InterruptFile } from '../../../guest/riscv/environment.ts';
import { defineSection, type StateOf } from '../../../platform/section.ts';
import { integer, list } from '../../../platform/shape.ts';
import { atomic32, atomic32s, bytes, defineShared, int32s, type SharedPart, within } from '../../../platform/shared.ts';
import { hartWords } from '../control/control-block.ts';
import type { Journal } from './journal.ts';

export const IMSIC_IDENTITIES = 255;
const WORDS = 8; // bit i of word w is identity 32w + i; identity 0 does not exist

const ImsicFile = defineShared('imsic interrupt file', {
  delivery: atomic32, // hart: eidelivery
  threshold: atomic32, // hart: eithreshold
  pad: bytes(56),
  pending: atomic32s(WORDS), // any thread sets bits with or; the hart clears them with and
  enabled: atomic32s(WORDS), // hart
});

/** Size of the buffer for the files of this number of harts. */
export const imsicBytes = (harts: number): number => harts * ImsicFile.size;

// Indirectly accessed registers (AIA §3.8).
const EIDELIVERY = 0x70;
const EITHRESHOLD = 0x72;
const EIP0 = 0x80;
const EIE0 = 0xc0;
const EIE63 = 0xff;

const MIP_MEIP = 1 << 11;

export const IMSIC_SECTION = defineSection('imsic', 1, {
  delivery: integer,
  threshold: integer,
  pending: list(integer),
  enabled: list(integer),
});

export type ImsicState = StateOf<typeof IMSIC_SECTION>;

export class Imsic implements InterruptFile {
  readonly #file: Int32Array;
  readonly #lines: Int32Array;
  readonly #hart: number;
  readonly #line: number;
  #journal: Journal | undefined;

  /**
   * A view of the file of this hart in `shared`, which drives the hart's line in `control`. One per
   * thread.
   */
  constructor(shared: SharedPart, control: Int32Array, hart: number) {
    this.#file = int32s(within(shared, hart * ImsicFile.size, ImsicFile.size));
    this.#lines = control;
    this.#hart = hart;
    this.#line = hartWords(hart).lines;
  }

  /**
   * Makes an identity pending, as a store to seteipnum does. Any thread may call it; the caller
   * wakes the hart.
   */
  setPending(identity: number): void {
    // AIA §3.5: values that are no identity are ignored
    if (identity < 1 || identity > IMSIC_IDENTITIES) return;
    // pairs with the load in #topIdentity
    Atomics.or(this.#file, ImsicFile.word.pending + (identity >>> 5), 1 << (identity & 31));
    this.#driveLine();
  }

  top(): number {
    const identity = this.#topIdentity();
    return (identity << 16) | identity;
  }

  claim(): number {
    const identity = this.#topIdentity();
    if (identity !== 0) {
      this.#journal?.claim(this.#hart, identity); // before the bit is cleared
      Atomics.and(this.#file, ImsicFile.word.pending + (identity >>> 5), ~(1 << (identity & 31)));
    }
    this.#driveLine();
    return (identity << 16) | identity;
  }

  readRegister(select: number): bigint {
    if (select === EIDELIVERY) return BigInt(Atomics.load(this.#file, ImsicFile.word.delivery));
    if (select === EITHRESHOLD) return BigInt(Atomics.load(this.#file, ImsicFile.word.threshold));
    const at = arrayIndex(select);
    return at === undefined ? 0n : (BigInt(this.#word(at + 1)) << 32n) | BigInt(this.#word(at));
  }

  writeRegister(select: number, value: bigint): void {
    if (select === EIDELIVERY) Atomics.store(this.#file, ImsicFile.word.delivery, Number(value & 1n));
    else if (select === EITHRESHOLD) Atomics.store(this.#file, ImsicFile.word.threshold, Number(value & 0xffn));
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
    const first = 32 * (at - ImsicFile.word.pending);
    for (;;) {
      const old = Atomics.load(this.#file, at);
      if (this.#journal && first < 32 * WORDS) {
        for (let away = old & ~value; away !== 0; away &= away - 1) {
          this.#journal.claim(this.#hart, first + 31 - Math.clz32(away & -away));
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
    this.restore({ version: 1, delivery: 0, threshold: 0, pending: [], enabled: [] });
  }

  /** To be called only while no other thread sets interrupts pending. */
  save(): ImsicState {
    return {
      version: 1,
      delivery: this.#word(ImsicFile.word.delivery),
      threshold: this.#word(ImsicFile.word.threshold),
      pending: this.#words(ImsicFile.word.pending),
      enabled: this.#words(ImsicFile.word.enabled),
    };
  }

  restore(state: ImsicState): void {
    Atomics.store(this.#file, ImsicFile.word.delivery, state.delivery);
    Atomics.store(this.#file, ImsicFile.word.threshold, state.threshold);
    for (let word = 0; word < WORDS; word++) {
      Atomics.store(this.#file, ImsicFile.word.pending + word, state.pending[word] ?? 0);
      Atomics.store(this.#file, ImsicFile.word.enabled + word, state.enabled[word] ?? 0);
    }
    this.#driveLine();
  }

  /**
   * The pending and enabled identity of highest priority, i.e. the lowest, below the threshold (AIA
   * §3.8.2); 0 if none.
   */
  #topIdentity(): number {
    const threshold = Atomics.load(this.#file, ImsicFile.word.threshold);
    for (let word = 0; word < WORDS; word++) {
      const ready =
        Atomics.load(this.#file, ImsicFile.word.pending + word) &
        Atomics.load(this.#file, ImsicFile.word.enabled + word);
      if (ready === 0) continue;
      const identity = 32 * word + (31 - Math.clz32(ready & -ready));
      return threshold !== 0 && identity >= threshold ? 0 : identity;
    }
    return 0;
  }

  #wanted(): number {
    return Atomics.load(this.#file, ImsicFile.word.delivery) === 1 && this.#topIdentity() !== 0 ? MIP_MEIP : 0;
  }

  #driveLine(): void {
    for (let wanted = this.#wanted(); ; wanted = this.#wanted()) {
      if (wanted !== 0) Atomics.or(this.#lines, this.#line, MIP_MEIP);
      else Atomics.and(this.#lines, this.#line, ~MIP_MEIP);
      // pairs with the stores of the other threads, see the header
      if (this.#wanted() === wanted) return;
    }
  }

  #word(at: number): number {
    return Atomics.load(this.#file, at) >>> 0;
  }

  #words(at: number): number[] {
    return Array.from({ length: WORDS }, (_, word) => this.#word(at + word));
  }
}

/**
 * Index of the low word of eip<k> or eie<k>, k even; undefined beyond the identities this file has.
 */
function arrayIndex(select: number): number | undefined {
  if (select < EIP0 || select > EIE63) return undefined;
  const [base, k] = select < EIE0 ? [ImsicFile.word.pending, select - EIP0] : [ImsicFile.word.enabled, select - EIE0];
  return k < WORDS ? base + k : undefined;
}
