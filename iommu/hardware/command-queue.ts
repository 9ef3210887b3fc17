/**
 * The command queue (IOMMU spec §3.1, §5.6–5.8, §5.15). The thread that writes cqt runs the
 * commands. Only one thread at a time processes the queue.
 */

import type { PhysicalMemory } from '../bus/physical.ts';
import { callForAttention, waitForAgents } from './epoch.ts';
import {
  appendInvalidation,
  HAS_ADDRESS,
  HAS_DID,
  HAS_GSCID,
  HAS_PSCID,
  type Invalidation,
  invalidation,
  KIND_DDT,
  KIND_GVMA,
  KIND_VMA,
} from './invalidation.ts';
import type { PendingInterrupts } from './ipsr.ts';
import { withLock } from './lock.ts';
import { EntryReader } from './pte.ts';
import { queueEntries } from './queue-base.ts';
import {
  COMMAND_BYTES,
  CQCSR_CIE,
  CQCSR_CMD_ILL,
  CQCSR_CMD_TO,
  CQCSR_CQEN,
  CQCSR_CQMF,
  CQCSR_CQON,
  CQCSR_ERRORS,
  CQCSR_FENCE_W_IP,
  CQCSR_W1C,
  FCTL_WSI,
  OP_IODIR_INVAL_DDT,
  OP_IOFENCE_C,
  OP_IOTINVAL_GVMA,
  OP_IOTINVAL_VMA,
  OP_MASK,
  REG,
} from './regs.ts';
import { registerWord, Unit } from './unit-memory.ts';

// IOTINVAL, words 0 and 1
const AV = 1 << 10;
const PSCV_HI = 1 << 0;
const GV_HI = 1 << 1;
const IOTINVAL_LO_RESERVED = 1 << 11;
/** NL (34) belongs to an extension the unit does not have. */
const IOTINVAL_HI_RESERVED = 0xf0000ffc | 0;
/** Words 2 and 3: ADDR[63:12] in bits 61:10; S (9) belongs to an extension. */
const ADDR_LO_RESERVED = 0x3ff;
const ADDR_HI_RESERVED = 0xc0000000 | 0;

// IOFENCE.C, word 0
const WSI = 1 << 11;
const FENCE_LO_RESERVED = 0xffffc000 | 0;
const FENCE_ADDR_HI_RESERVED = 0xc0000000 | 0;

// IODIR, words 0 and 1
const DV_HI = 1 << 1;
const IODIR_LO_RESERVED = 0xfffffc00 | 0; // the PID operand is reserved for INVAL_DDT
const IODIR_HI_RESERVED = 0xfd;

const DONE = 0;

const CQCSR = registerWord(REG.cqcsr);
const CQH = registerWord(REG.cqh);
const CQT = registerWord(REG.cqt);

export class CommandQueue {
  readonly #words: Int32Array;
  readonly #physical: PhysicalMemory;
  readonly #interrupts: PendingInterrupts;
  readonly #base = new EntryReader();
  /** Requests have been appended to the log, and the agents have not been called to it yet. */
  #appended = false;

  constructor(words: Int32Array, physical: PhysicalMemory, interrupts: PendingInterrupts) {
    this.#words = words;
    this.#physical = physical;
    this.#interrupts = interrupts;
  }

  /** A write to cqt. */
  writeTail(value: number): void {
    this.#locked(() => Atomics.store(this.#words, CQT, value));
  }

  /**
   * A write to cqcsr. Clearing an error bit makes the queue go on from the command that caused it.
   */
  writeCsr(value: number): void {
    const words = this.#words;
    this.#locked(() => {
      const old = Atomics.load(words, CQCSR);
      let csr = (old & ~(CQCSR_CQEN | CQCSR_CIE) & ~(value & CQCSR_W1C)) | (value & (CQCSR_CQEN | CQCSR_CIE));
      if ((value & CQCSR_CQEN) === 0) csr &= ~CQCSR_CQON;
      else if ((old & CQCSR_CQEN) === 0) {
        csr = (csr & ~CQCSR_W1C) | CQCSR_CQON;
        Atomics.store(words, CQH, 0);
      }
      Atomics.store(words, CQCSR, csr);
    });
  }

  /**
   * Handles a write to ddtp. Entries found through the old value are forgotten. When this returns,
   * transactions that use the old value have ended (§5.5 wants that for Off), or cmd_to is set.
   */
  directoryChanged(store: () => void): void {
    withLock(this.#words, Unit.word.commandLock, () => {
      store();
      this.#append(invalidation(KIND_DDT));
      if (!this.#fence()) Atomics.or(this.#words, CQCSR, CQCSR_CMD_TO);
    });
    this.#signal();
  }

  /** Ports forget what they have cached before their next transaction. */
  forgetCached(): void {
    withLock(this.#words, Unit.word.commandLock, () => {
      this.#append(invalidation(KIND_DDT));
      this.#publish();
    });
  }

  /** Changes registers and runs the queue under the command lock, then signals. */
  #locked(change: () => void): void {
    withLock(this.#words, Unit.word.commandLock, () => {
      change();
      this.#run();
      this.#publish();
    });
    this.#signal();
  }

  #signal(): void {
    if ((Atomics.load(this.#words, CQCSR) & CQCSR_W1C) !== 0) this.#interrupts.raise('cq');
  }

  #run(): void {
    const words = this.#words;
    const entries = queueEntries(Atomics.load(words, registerWord(REG.cqb)));
    const tail = Atomics.load(words, CQT) & (entries - 1);
    while ((Atomics.load(words, CQCSR) & (CQCSR_CQON | CQCSR_ERRORS)) === CQCSR_CQON) {
      const head = Atomics.load(words, CQH) & (entries - 1);
      if (head === tail) return;
      const error = this.#fetch(head);
      if (error !== DONE) {
        Atomics.or(words, CQCSR, error);
        return;
      }
      Atomics.store(words, CQH, (head + 1) & (entries - 1));
    }
  }

  /** Fetches and executes the command at `head`: DONE, or the error bit of cqcsr. */
  #fetch(head: number): number {
    this.#base.read(this.#words, registerWord(REG.cqb));
    const pa = this.#base.pfn() * 4096 + head * COMMAND_BYTES;
    const w0 = this.#physical.read32(pa);
    const w1 = this.#physical.read32(pa + 4);
    const w2 = this.#physical.read32(pa + 8);
    const w3 = this.#physical.read32(pa + 12);
    if (w0 === undefined || w1 === undefined || w2 === undefined || w3 === undefined) return CQCSR_CQMF;
    switch (w0 & OP_MASK) {
      case OP_IOTINVAL_VMA:
        return this.#iotinval(KIND_VMA, w0, w1, w2, w3);
      case OP_IOTINVAL_GVMA:
        return (w1 & PSCV_HI) !== 0 ? CQCSR_CMD_ILL : this.#iotinval(KIND_GVMA, w0, w1, w2, w3);
      case OP_IOFENCE_C:
        return this.#iofence(w0, w1, w2, w3);
      case OP_IODIR_INVAL_DDT:
        return this.#iodir(w0, w1, w2, w3);
      default:
        // ATS and IODIR.INVAL_PDT are unsupported: capabilities.ATS and PD* are 0.
        return CQCSR_CMD_ILL;
    }
  }

  /** §3.1.1 */
  #iotinval(kind: number, w0: number, w1: number, w2: number, w3: number): number {
    if ((w0 & IOTINVAL_LO_RESERVED) !== 0 || (w1 & IOTINVAL_HI_RESERVED) !== 0) return CQCSR_CMD_ILL;
    if ((w2 & ADDR_LO_RESERVED) !== 0 || (w3 & ADDR_HI_RESERVED) !== 0) return CQCSR_CMD_ILL;
    const request = invalidation(kind);
    if ((w0 & AV) !== 0) request.flags |= HAS_ADDRESS;
    if ((w1 & PSCV_HI) !== 0) request.flags |= HAS_PSCID;
    if ((w1 & GV_HI) !== 0) request.flags |= HAS_GSCID;
    request.pscid = w0 >>> 12;
    request.gscid = (w1 >>> 12) & 0xffff;
    request.vpn = (w3 >>> 0) * 2 ** 22 + (w2 >>> 10);
    this.#append(request);
    return DONE;
  }

  /**
   * §3.1.2. PR and PW are ignored: the fence waits for all transactions. DEVIATION: a device worker
   * that does not come out of its transaction sets cmd_to, which the specification has for ATS
   * only. Memory that the fence was to make safe must then not be given back.
   */
  #iofence(w0: number, w1: number, w2: number, w3: number): number {
    const words = this.#words;
    const wsi = (w0 & WSI) !== 0;
    if ((w0 & FENCE_LO_RESERVED) !== 0 || (w3 & FENCE_ADDR_HI_RESERVED) !== 0) return CQCSR_CMD_ILL;
    if (wsi && (Atomics.load(words, registerWord(REG.fctl)) & FCTL_WSI) === 0) return CQCSR_CMD_ILL;
    if (!this.#fence()) return CQCSR_CMD_TO;
    if ((w0 & AV) !== 0) {
      const pa = ((w3 & 0x3fffffff) * 2 ** 32 + (w2 >>> 0)) * 4;
      if (pa >= 2 ** 52 || !this.#physical.write32(pa, w1)) return CQCSR_CQMF;
    }
    if (wsi) Atomics.or(words, CQCSR, CQCSR_FENCE_W_IP);
    return DONE;
  }

  /** §3.1.3 */
  #iodir(w0: number, w1: number, w2: number, w3: number): number {
    if ((w0 & IODIR_LO_RESERVED) !== 0 || (w1 & IODIR_HI_RESERVED) !== 0) return CQCSR_CMD_ILL;
    if (w2 !== 0 || w3 !== 0) return CQCSR_CMD_ILL;
    const request = invalidation(KIND_DDT);
    if ((w1 & DV_HI) !== 0) request.flags |= HAS_DID;
    request.did = w1 >>> 8;
    this.#append(request);
    return DONE;
  }

  #append(request: Readonly<Invalidation>): void {
    appendInvalidation(this.#words, request);
    this.#appended = true;
  }

  /** Makes agents see the log at their next transaction. */
  #publish(): void {
    if (this.#appended) callForAttention(this.#words);
    this.#appended = false;
  }

  /** Waits for the agents. After true, no transaction uses the entries that the log removed. */
  #fence(): boolean {
    this.#publish();
    return waitForAgents(this.#words);
  }
}
