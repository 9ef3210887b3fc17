/**
 * The fault queue (IOMMU spec §3.2, §5.9–5.11, §5.16). It has many producers: every port records
 * its own faults, and the MMIO side records those of debug translations and of messages. A refused
 * access is counted even when its record is lost.
 */

import type { PhysicalMemory } from '../bus/physical.ts';
import { type MsiFault, PendingInterrupts, type Wire } from './ipsr.ts';
import { withLock } from './lock.ts';
import { EntryReader } from './pte.ts';
import { queueEntries } from './queue-base.ts';
import {
  CAUSE_MSI_WRITE_ACCESS,
  CAUSE_READ_GUEST_PAGE,
  CAUSE_WRITE_GUEST_PAGE,
  FAULT_BYTES,
  FQCSR_FIE,
  FQCSR_FQEN,
  FQCSR_FQMF,
  FQCSR_FQOF,
  FQCSR_FQON,
  FQCSR_W1C,
  REG,
  TTYP_NONE,
} from './regs.ts';
import { registerWord, Unit } from './unit-memory.ts';
import { SAME_OFFSET } from './walk.ts';

/** A fault as it goes into a record; 64-bit fields in halves. */
export interface Fault {
  cause: number;
  ttyp: number;
  did: number;
  iotvalLo: number;
  iotvalHi: number;
  iotval2Lo: number;
  iotval2Hi: number;
}

export const emptyFault = (): Fault => ({
  cause: 0,
  ttyp: 0,
  did: 0,
  iotvalLo: 0,
  iotvalHi: 0,
  iotval2Lo: 0,
  iotval2Hi: 0,
});

/** Byte address page × 4096 + offset, in halves: the page may have 52 bits. */
const byteLo = (page: number, offset: number): number => (page << 12) | offset;
const byteHi = (page: number): number => Math.floor(page / 2 ** 20) | 0;

/** The guest address at which a translation failed. A Walker has these fields. */
export interface GuestAddress {
  readonly guestPage: number;
  /** Offset in that page and the low bits of iotval2, or SAME_OFFSET. */
  readonly guestOffset: number;
}

/**
 * Fills in the addresses of a fault at iova vpn × 4096 + offset (§3.2: iotval2 is for guest-page
 * faults only).
 */
export function setAddresses(fault: Fault, vpn: number, offset: number, guest: GuestAddress): void {
  fault.iotvalLo = byteLo(vpn, offset);
  fault.iotvalHi = byteHi(vpn);
  const isGuestFault = fault.cause === CAUSE_READ_GUEST_PAGE || fault.cause === CAUSE_WRITE_GUEST_PAGE;
  const guestOffset = guest.guestOffset === SAME_OFFSET ? offset & ~3 : guest.guestOffset;
  fault.iotval2Lo = isGuestFault ? byteLo(guest.guestPage, guestOffset) : 0;
  fault.iotval2Hi = isGuestFault ? byteHi(guest.guestPage) : 0;
}

const FQCSR = registerWord(REG.fqcsr);
const FQH = registerWord(REG.fqh);
const FQT = registerWord(REG.fqt);

export class FaultQueue {
  readonly #words: Int32Array;
  readonly #physical: PhysicalMemory;
  readonly #base = new EntryReader();
  readonly #record = new Int32Array(FAULT_BYTES / 4);
  /** Interrupts of the unit. A message that finds no memory is itself a fault. */
  readonly interrupts: PendingInterrupts;

  constructor(words: Int32Array, physical: PhysicalMemory, wire: Wire) {
    this.#words = words;
    this.#physical = physical;
    this.interrupts = new PendingInterrupts(words, physical, wire, this.messageFault);
  }

  /** Records a fault, or counts it as discarded. */
  record(fault: Readonly<Fault>): void {
    const recorded = this.#open() && withLock(this.#words, Unit.word.faultLock, () => this.#append(fault));
    Atomics.add(this.#words, recorded ? Unit.word.recorded : Unit.word.discarded, 1);
    if (recorded || (Atomics.load(this.#words, FQCSR) & FQCSR_W1C) !== 0) this.interrupts.raise('fq');
  }

  /** A write to fqcsr. */
  writeCsr(value: number): void {
    const words = this.#words;
    withLock(words, Unit.word.faultLock, () => {
      const old = Atomics.load(words, FQCSR);
      let csr = (old & ~(FQCSR_FQEN | FQCSR_FIE) & ~(value & FQCSR_W1C)) | (value & (FQCSR_FQEN | FQCSR_FIE));
      if ((value & FQCSR_FQEN) === 0) csr &= ~FQCSR_FQON;
      else if ((old & FQCSR_FQEN) === 0) {
        csr = (csr & ~FQCSR_W1C) | FQCSR_FQON;
        Atomics.store(words, FQT, 0);
      }
      Atomics.store(words, FQCSR, csr);
    });
  }

  /**
   * Whether records are taken at all. This is tested before the lock is taken, so that a flood of
   * faults into a full queue does not delay other threads.
   */
  #open(): boolean {
    return (Atomics.load(this.#words, FQCSR) & (FQCSR_FQON | FQCSR_W1C)) === FQCSR_FQON;
  }

  /** Writes the record at the tail and moves the tail. The caller holds the fault lock. */
  #append(fault: Readonly<Fault>): boolean {
    if (!this.#open()) return false;
    const words = this.#words;
    const csr = Atomics.load(words, FQCSR);
    this.#base.read(words, registerWord(REG.fqb));
    const entries = queueEntries(this.#base.lo);
    const tail = Atomics.load(words, FQT) & (entries - 1);
    const next = (tail + 1) & (entries - 1);
    if (next === (Atomics.load(words, FQH) & (entries - 1))) {
      Atomics.store(words, FQCSR, csr | FQCSR_FQOF);
      return false;
    }
    const pa = this.#base.pfn() * 4096 + tail * FAULT_BYTES;
    this.#fill(fault);
    for (let i = 0; i < this.#record.length; i++) {
      if (this.#physical.write32(pa + 4 * i, this.#record[i]!)) continue;
      Atomics.store(words, FQCSR, csr | FQCSR_FQMF);
      return false;
    }
    Atomics.store(words, FQT, next); // publishes the record
    return true;
  }

  /** §3.2: CAUSE 11:0, TTYP 39:34, DID 63:40; there are no process ids here. */
  #fill(fault: Readonly<Fault>): void {
    const record = this.#record;
    record[0] = fault.cause;
    record[1] = (fault.ttyp << 2) | (fault.did << 8);
    record[2] = 0;
    record[3] = 0;
    record[4] = fault.iotvalLo;
    record[5] = fault.iotvalHi;
    record[6] = fault.iotval2Lo;
    record[7] = fault.iotval2Hi;
  }

  /** A message of the unit itself. §5.29: TTYP 0, DID 0, iotval the message's address. */
  readonly messageFault: MsiFault = (lo, hi) => {
    const fault = emptyFault();
    fault.cause = CAUSE_MSI_WRITE_ACCESS;
    fault.ttyp = TTYP_NONE;
    fault.iotvalLo = lo;
    fault.iotvalHi = hi;
    this.record(fault);
  };
}
