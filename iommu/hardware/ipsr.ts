/**
 * Interrupts of the unit itself (IOMMU spec §5.18, §5.28–5.29). Each cause has a pending bit. A bit
 * that becomes 1 is signalled, by wire or by message. Any thread may raise one.
 */
import type { PhysicalMemory } from '../bus/physical.ts';
import { EntryReader } from './pte.ts';
import { CQCSR_CIE, CQCSR_W1C, FCTL_WSI, FQCSR_FIE, FQCSR_W1C, IPSR_CIP, IPSR_FIP, REG } from './regs.ts';
import { registerWord } from './unit-memory.ts';

export type Cause = 'cq' | 'fq' | 'pm' | 'pq';

/**
 * Raises the wire of a cause. The receiver looks at ipsr. A pulse while the cause is already
 * pending is not repeated.
 */
export type Wire = (cause: Cause) => void;

const BIT = { cq: IPSR_CIP, fq: IPSR_FIP } as const;
/** Position of the cause's field in icvec. */
const FIELD = { cq: 0, fq: 4 } as const;

const MSI_ENTRY_BYTES = 16;
const MASKED = 1;
/** Vector control, a bit software cannot write: a message waits for the mask to be lifted. */
const PENDING = 1 << 31;

/** A message could not be delivered to this address. */
export type MsiFault = (addressLo: number, addressHi: number) => void;

export class PendingInterrupts {
  readonly #words: Int32Array;
  readonly #physical: PhysicalMemory;
  readonly #wire: Wire;
  readonly #msiFault: MsiFault;
  readonly #address = new EntryReader();

  constructor(words: Int32Array, physical: PhysicalMemory, wire: Wire, msiFault: MsiFault) {
    this.#words = words;
    this.#physical = physical;
    this.#wire = wire;
    this.#msiFault = msiFault;
  }

  /**
   * Sets the pending bit if the queue's interrupts are enabled. The transition 0 → 1 is signalled.
   */
  raise(cause: 'cq' | 'fq'): void {
    const words = this.#words;
    const csr = Atomics.load(words, registerWord(cause === 'cq' ? REG.cqcsr : REG.fqcsr));
    if ((csr & (cause === 'cq' ? CQCSR_CIE : FQCSR_FIE)) === 0) return;
    // pairs with the and in clear
    const before = Atomics.or(words, registerWord(REG.ipsr), BIT[cause]);
    if ((before & BIT[cause]) !== 0) return;
    if ((Atomics.load(words, registerWord(REG.fctl)) & FCTL_WSI) !== 0) this.#wire(cause);
    else this.#message((Atomics.load(words, registerWord(REG.icvec)) >>> FIELD[cause]) & 0xf);
  }

  /**
   * Handles a write to ipsr: clears bits, then sets those again that have a condition still there.
   */
  clear(bits: number): void {
    Atomics.and(this.#words, registerWord(REG.ipsr), ~bits); // pairs with the or in raise
    if ((bits & IPSR_CIP) !== 0 && this.#csr(REG.cqcsr, CQCSR_W1C)) this.raise('cq');
    if ((bits & IPSR_FIP) !== 0 && this.#csr(REG.fqcsr, FQCSR_W1C)) this.raise('fq');
  }

  /** Handles a write to the control of `vector`. An unmasked vector sends its pending message. */
  unmask(vector: number): void {
    const at = registerWord(REG.msiCfgTbl + vector * MSI_ENTRY_BYTES);
    if ((Atomics.load(this.#words, at + 3) & MASKED) !== 0) return;
    if ((Atomics.and(this.#words, at + 3, ~PENDING) & PENDING) !== 0) this.#message(vector);
  }

  #csr(offset: number, bits: number): boolean {
    return (Atomics.load(this.#words, registerWord(offset)) & bits) !== 0;
  }

  #message(vector: number): void {
    const words = this.#words;
    const at = registerWord(REG.msiCfgTbl + vector * MSI_ENTRY_BYTES);
    if ((Atomics.load(words, at + 3) & MASKED) !== 0) {
      Atomics.or(words, at + 3, PENDING);
      return;
    }
    this.#address.read(words, at);
    const { lo, hi } = this.#address;
    const pa = (hi >>> 0) * 2 ** 32 + (lo >>> 0);
    if (!this.#physical.write32(pa, Atomics.load(words, at + 2))) this.#msiFault(lo, hi);
  }
}

/** The vector control as a read shows it. */
export const visibleVectorControl = (word: number): number => word & MASKED;
