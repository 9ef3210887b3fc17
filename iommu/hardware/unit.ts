/**
 * The unit as software sees it: the register file (IOMMU spec §5). The registers live in the unit's
 * shared memory, so any thread may have a view of them.
 */

import { hex } from '../../platform/hex.ts';
import type { PhysicalMemory } from '../bus/physical.ts';
import { CommandQueue } from './command-queue.ts';
import { Directory } from './directory.ts';
import { emptyFault, FaultQueue, setAddresses } from './fault-queue.ts';
import { visibleVectorControl, type Wire } from './ipsr.ts';
import { TO_INTERRUPT_FILE } from './msi.ts';
import { EntryReader, entryHi, entryLo } from './pte.ts';
import {
  CAUSE_TYPE_DISALLOWED,
  CQCSR_CQON,
  DDTP_3LVL,
  DDTP_BARE,
  DDTP_MODE_MASK,
  FCTL_WSI,
  FQCSR_FQON,
  REG,
  reportedWithDtf,
  TR_FAULT,
  TR_GO,
  TR_NW,
  TR_SUPERPAGE,
  TTYP_READ,
  TTYP_WRITE,
} from './regs.ts';
import { registerWord, Unit, walkAbilities } from './unit-memory.ts';
import { Walker } from './walk.ts';

/** PPN 53:10 and LOG2SZ−1 4:0 of a queue base. */
const QUEUE_BASE_LO = 0xfffffc1f | 0;
const PPN_HI = 0x3fffff;
const DDTP_LO = 0xfffffc0f | 0;
const ICVEC_LO = 0xffff;
/** msi_addr: bits 55:2. */
const MSI_ADDR_HI = 0xffffff;
/** tr_req_ctl: NW and DID; Priv, Exe, PID and PV are hardwired to 0, there are no process ids. */
const TR_CTL_HI = 0xffffff00 | 0;
/**
 * Position of the cause of a failed debug translation. QEMU, too, leaves it there; the field is
 * unspecified then.
 */
const TR_CAUSE_SHIFT = 10;

const REGISTER_WORDS = REG.end / 4;
const FIRST_AFTER_CAPABILITIES = REG.fctl / 4;

export interface UnitCounts {
  readonly faultsRecorded: number;
  readonly faultsDiscarded: number;
}

export class IommuUnit {
  readonly #words: Int32Array;
  readonly #physical: PhysicalMemory;
  readonly #commands: CommandQueue;
  readonly #faults: FaultQueue;
  readonly #directory: Directory;
  readonly #entry = new EntryReader();

  constructor(unit: SharedArrayBuffer, physical: PhysicalMemory, wire: Wire) {
    this.#words = new Int32Array(unit);
    this.#physical = physical;
    this.#faults = new FaultQueue(this.#words, physical, wire);
    this.#commands = new CommandQueue(this.#words, physical, this.#faults.interrupts);
    this.#directory = new Directory(this.#words, physical);
  }

  counts(): UnitCounts {
    const at = Unit.word;
    return {
      faultsRecorded: Atomics.load(this.#words, at.recorded) >>> 0,
      faultsDiscarded: Atomics.load(this.#words, at.discarded) >>> 0,
    };
  }

  /** As after power-on. To be called while no port is in a transaction, as `restore`. */
  reset(): void {
    this.restore([]);
  }

  /**
   * The registers, by word. Nothing else of the unit has to be kept, because a cache may forget
   * what it has. To be called while no port is in a transaction.
   */
  save(): number[] {
    return Array.from({ length: REGISTER_WORDS }, (_, word) => Atomics.load(this.#words, registerWord(4 * word)));
  }

  /**
   * Takes the registers of an earlier unit with the same capabilities; ports forget what they have
   * cached. Words that are missing become 0.
   */
  restore(registers: readonly number[]): void {
    for (let word = FIRST_AFTER_CAPABILITIES; word < REGISTER_WORDS; word++) {
      Atomics.store(this.#words, registerWord(4 * word), registers[word] ?? 0);
    }
    this.#commands.forgetCached();
  }

  /** An aligned access of 4 or 8 bytes. Reserved offsets read as 0. */
  readRegister(offset: number, size: 4 | 8): bigint {
    const lo = BigInt(this.read32(offset));
    return size === 4 ? lo : lo | (BigInt(this.read32(offset + 4)) << 32n);
  }

  writeRegister(offset: number, size: 4 | 8, value: bigint): void {
    const lo = Number(BigInt.asUintN(32, value)) | 0;
    if (size === 4) this.write32(offset, lo);
    else this.#write(offset, lo, Number(BigInt.asUintN(32, value >> 32n)) | 0);
  }

  read32(offset: number): number {
    this.#check(offset, 4);
    if (offset >= REG.end) return 0;
    const word = Atomics.load(this.#words, registerWord(offset));
    const isVectorControl = offset >= REG.msiCfgTbl && offset % 16 === 12;
    return (isVectorControl ? visibleVectorControl(word) : word) >>> 0;
  }

  /** Writes a 32-bit register, or one half of a 64-bit one. */
  write32(offset: number, value: number): void {
    this.#check(offset, 4);
    if (offset >= REG.end) return;
    const low = offset - (offset % 8);
    const at = registerWord(low);
    const isLow = offset === low;
    switch (low) {
      case REG.ddtp:
      case REG.cqb:
      case REG.fqb:
      case REG.trReqIova:
      case REG.trReqCtl:
      case REG.icvec:
        if (isLow) this.#write(low, value, Atomics.load(this.#words, at + 1));
        else if (low === REG.trReqCtl) Atomics.store(this.#words, at + 1, value & TR_CTL_HI);
        else this.#write(low, Atomics.load(this.#words, at), value);
        break;
      default:
        if (offset >= REG.msiCfgTbl) this.#writeMsiTable(offset, value);
        else this.#write(offset, value, 0);
    }
  }

  #check(offset: number, size: number): void {
    if (offset % size !== 0 || offset < 0) throw new RangeError(`bad register access at ${hex(offset)}`);
  }

  /** A write of a whole register. */
  #write(offset: number, lo: number, hi: number): void {
    this.#check(offset, 4);
    const words = this.#words;
    switch (offset) {
      case REG.fctl:
        Atomics.store(words, registerWord(offset), lo & FCTL_WSI);
        break;
      case REG.ddtp:
        this.#writeDdtp(lo & DDTP_LO, hi & PPN_HI);
        break;
      case REG.cqb: // §5.6: writing it while the queue is on is unspecified
        if ((this.read32(REG.cqcsr) & CQCSR_CQON) === 0) this.#store(offset, lo & QUEUE_BASE_LO, hi & PPN_HI);
        break;
      case REG.fqb:
        if ((this.read32(REG.fqcsr) & FQCSR_FQON) === 0) this.#store(offset, lo & QUEUE_BASE_LO, hi & PPN_HI);
        break;
      case REG.cqt:
        this.#commands.writeTail(lo);
        break;
      case REG.fqh:
        Atomics.store(words, registerWord(offset), lo);
        break;
      case REG.cqcsr:
        this.#commands.writeCsr(lo);
        break;
      case REG.fqcsr:
        this.#faults.writeCsr(lo);
        break;
      case REG.ipsr:
        this.#faults.interrupts.clear(lo);
        break;
      case REG.icvec:
        this.#store(offset, lo & ICVEC_LO, 0);
        break;
      case REG.trReqIova:
        this.#store(offset, lo & ~0xfff, hi);
        break;
      case REG.trReqCtl:
        this.#store(offset, lo & TR_NW, hi & TR_CTL_HI);
        if ((lo & TR_GO) !== 0) this.#debugTranslate();
        break;
      default:
        if (offset >= REG.msiCfgTbl && offset < REG.end) {
          this.#writeMsiTable(offset, lo);
          this.#writeMsiTable(offset + 4, hi);
        }
      // Everything else is read-only or reserved.
    }
  }

  #store(offset: number, lo: number, hi: number): void {
    Atomics.store(this.#words, registerWord(offset) + 1, hi);
    Atomics.store(this.#words, registerWord(offset), lo);
  }

  /**
   * §5.5: a mode may only change from or to OFF or BARE; other writes, and unsupported modes, have
   * no effect.
   */
  #writeDdtp(lo: number, hi: number): void {
    const old = this.read32(REG.ddtp) & DDTP_MODE_MASK;
    const mode = lo & DDTP_MODE_MASK;
    if (mode > DDTP_3LVL || (old > DDTP_BARE && mode > DDTP_BARE && mode !== old)) return;
    this.#commands.directoryChanged(() => this.#store(REG.ddtp, lo, hi));
  }

  #writeMsiTable(offset: number, value: number): void {
    const at = registerWord(offset);
    const field = offset % 16;
    if (field === 0) Atomics.store(this.#words, at, value & ~3);
    else if (field === 4) Atomics.store(this.#words, at, value & MSI_ADDR_HI);
    else if (field === 8) Atomics.store(this.#words, at, value);
    else {
      if ((value & 1) !== 0) Atomics.or(this.#words, at, 1);
      else Atomics.and(this.#words, at, ~1);
      this.#faults.interrupts.unmask(Math.floor((offset - REG.msiCfgTbl) / 16));
    }
  }

  /**
   * §5.24–5.26: a translation that uses no cache. Its fault goes to the queue as that of a
   * transaction would.
   */
  #debugTranslate(): void {
    const words = this.#words;
    this.#entry.read(words, registerWord(REG.trReqIova));
    const vpn = (this.#entry.hi >>> 0) * 2 ** 20 + (this.#entry.lo >>> 12);
    const did = this.read32(REG.trReqCtl + 4) >>> 8;
    const write = (this.read32(REG.trReqCtl) & TR_NW) === 0;
    const context = this.#directory.locate(did);
    const walker = new Walker(this.#physical, walkAbilities(this.#words));
    const found = typeof context === 'number' ? context : walker.translate(context, vpn, write);
    // §4.2: a page of a file in memory has no translation
    const cause = found === TO_INTERRUPT_FILE ? CAUSE_TYPE_DISALLOWED : found;
    if (cause === 0) {
      this.#respond(walker);
      return;
    }
    this.#store(REG.trResponse, TR_FAULT | (cause << TR_CAUSE_SHIFT), 0);
    if (typeof context === 'object' && context.dtf && !reportedWithDtf(cause)) return;
    const fault = { ...emptyFault(), cause, ttyp: write ? TTYP_WRITE : TTYP_READ, did };
    setAddresses(fault, vpn, 0, walker);
    this.#faults.record(fault);
  }

  /**
   * Stores the response. The low bits of PPN give the size of a superpage: those below the first 0
   * are 1.
   */
  #respond({ pfn, pages }: Walker): void {
    // A pass-through has no size.
    const isSuper = pages > 1 && pages <= 2 ** 27;
    const coded = isSuper ? pfn - (pfn % pages) + pages / 2 - 1 : pfn;
    this.#store(REG.trResponse, entryLo(coded, isSuper ? TR_SUPERPAGE : 0), entryHi(coded));
  }
}
