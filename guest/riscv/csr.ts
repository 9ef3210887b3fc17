import type { HartOptions, InterruptFile } from './environment.ts';
import { FloatRegisters } from './float/registers.ts';
import * as isa from './isa.ts';

/** The iprio array and the interrupt file behind miselect/mireg (AIA §2.1, table 2.2). */
const SELECT_IPRIO_FIRST = 0x30;
const SELECT_IPRIO_LAST = 0x3f;
const SELECT_FILE_FIRST = 0x70;
const SELECT_EIP_FIRST = 0x80;
const SELECT_FILE_LAST = 0xff;

const u64 = (value: bigint): bigint => BigInt.asUintN(64, value);

/**
 * The CSRs of a hart with M mode only (priv-isa §3.1, §2.2) and Smaia (AIA §2.1). read and write
 * take and give unsigned 64-bit bigints. medeleg, mideleg and all CSRs of S and U mode do not
 * exist: an access to them is an illegal instruction.
 *
 * NOT MODELLED: PMP (the registers exist and are WARL zero: with one mode and no locked entry
 * nothing would be checked), hardware performance counters (read zero), triggers, non-standard
 * local interrupts.
 */
export class ControlStatus {
  /** MIE, MPIE and FS only; the rest of mstatus is constant or follows from them. */
  mstatus = 0;
  mie = 0;
  mtvec = 0n;
  mscratch = 0n;
  mepc = 0n;
  mcause = 0n;
  mtval = 0n;
  mcounteren = 0;
  miselect = 0;
  /**
   * Counts of instructions since construction: those begun, and those of them that trapped and so
   * did not retire (priv-isa §3.3.1).
   */
  begun = 0;
  trapped = 0;
  /** What software wrote to mcycle and minstret, less the counts at that moment. */
  cycleOffset = 0n;
  instretOffset = 0n;
  readonly float = new FloatRegisters();
  readonly #hartId: bigint;
  readonly #file: InterruptFile | undefined;
  readonly #lines: Int32Array;
  readonly #lineIndex: number;
  readonly #time: () => bigint;

  constructor(options: HartOptions) {
    this.#hartId = BigInt(options.hartId);
    this.#file = options.interruptFile;
    this.#lines = options.lines;
    this.#lineIndex = options.lineIndex;
    this.#time = () => options.time();
  }

  /**
   * mip. The machine drives all of its bits as lines. Pairs with the Atomics.or/and of the threads
   * that drive them.
   */
  mip(): number {
    return Atomics.load(this.#lines, this.#lineIndex) & isa.IRQ_MASK;
  }

  mcycle(): bigint {
    return u64(BigInt(this.begun) + this.cycleOffset);
  }

  minstret(): bigint {
    return u64(BigInt(this.begun - this.trapped) + this.instretOffset);
  }

  /**
   * The value of a CSR; undefined if there is none at this address, which is an illegal
   * instruction.
   */
  read(csr: number): bigint | undefined {
    switch (csr) {
      case isa.CSR_MSTATUS:
        return BigInt(this.mstatus | isa.MSTATUS_MPP) | (this.#floatState() === isa.MSTATUS_FS ? isa.MSTATUS_SD : 0n);
      case isa.CSR_MISA:
        return isa.MISA;
      case isa.CSR_MIE:
        return BigInt(this.mie);
      case isa.CSR_MTVEC:
        return this.mtvec;
      case isa.CSR_MCOUNTEREN:
        return BigInt(this.mcounteren);
      case isa.CSR_MSCRATCH:
        return this.mscratch;
      case isa.CSR_MEPC:
        return this.mepc;
      case isa.CSR_MCAUSE:
        return this.mcause;
      case isa.CSR_MTVAL:
        return this.mtval;
      case isa.CSR_MIP:
        return BigInt(this.mip());
      case isa.CSR_MCYCLE:
      case isa.CSR_CYCLE:
        return this.mcycle();
      case isa.CSR_MINSTRET:
      case isa.CSR_INSTRET:
        return this.minstret();
      case isa.CSR_TIME:
        return this.#time();
      case isa.CSR_MHARTID:
        return this.#hartId;
      case isa.CSR_MVENDORID: // 0: not implemented, non-commercial (priv-isa §3.1.2–3.1.4, §3.1.17)
      case isa.CSR_MARCHID:
      case isa.CSR_MIMPID:
      case isa.CSR_MCONFIGPTR:
      case isa.CSR_MCOUNTINHIBIT: // nothing can be inhibited
        return 0n;
      case isa.CSR_FFLAGS:
      case isa.CSR_FRM:
      case isa.CSR_FCSR:
        return this.#readFloat(csr);
      case isa.CSR_MISELECT:
        return this.#file && BigInt(this.miselect);
      case isa.CSR_MIREG:
        return this.#readSelected();
      case isa.CSR_MTOPEI:
        return this.#file && BigInt(this.#file.top());
      case isa.CSR_MTOPI:
        return this.#file && BigInt(this.#topInterrupt());
      default:
        return isZeroRegister(csr) ? 0n : undefined;
    }
  }

  /**
   * Writes a CSR, after making the value legal (WARL). False if no CSR can be written at this
   * address, which is an illegal instruction.
   */
  write(csr: number, value: bigint): boolean {
    if (csr >> 10 === 3) return false; // csr[11:10] = 3: read only (priv-isa §2.1)
    switch (csr) {
      case isa.CSR_MSTATUS:
        this.mstatus = Number(value & BigInt(isa.MSTATUS_MIE | isa.MSTATUS_MPIE | isa.MSTATUS_FS));
        return true;
      case isa.CSR_FFLAGS:
      case isa.CSR_FRM:
      case isa.CSR_FCSR:
        return this.#writeFloat(csr, Number(value & 0xffn));
      case isa.CSR_MIE:
        this.mie = Number(value & BigInt(isa.IRQ_MASK));
        return true;
      case isa.CSR_MTVEC:
        // A reserved mode, or a base where no instruction can be, leaves the register as it was
        // (priv-isa §3.1.7: WARL).
        if ((value & 2n) === 0n && value < 1n << 52n) this.mtvec = value;
        return true;
      case isa.CSR_MCOUNTEREN:
        // DEVIATION: priv-isa §3.1.11 wants it absent without U mode; firmware that QEMU runs
        // writes it. It has no effect.
        this.mcounteren = Number(value & 7n);
        return true;
      case isa.CSR_MSCRATCH:
        this.mscratch = value;
        return true;
      case isa.CSR_MEPC:
        this.mepc = value & ~1n; // IALIGN = 16 (priv-isa §3.1.14)
        return true;
      case isa.CSR_MCAUSE:
        this.mcause = value;
        return true;
      case isa.CSR_MTVAL:
        this.mtval = value;
        return true;
      case isa.CSR_MCYCLE:
        // the next instruction reads the value written
        this.cycleOffset = value - BigInt(this.begun + 1);
        return true;
      case isa.CSR_MINSTRET:
        this.instretOffset = value - BigInt(this.begun + 1 - this.trapped);
        return true;
      case isa.CSR_MISELECT:
        if (!this.#file) return false;
        this.miselect = Number(value & 0xfffn);
        return true;
      case isa.CSR_MIREG:
        return this.#writeSelected(value);
      case isa.CSR_MTOPEI:
        return this.claim() !== undefined;
      case isa.CSR_MISA: // writable in theory, fixed here
      case isa.CSR_MIP: // bits 3, 7, 11 are read only (priv-isa §3.1.9)
      case isa.CSR_MCOUNTINHIBIT:
        return true;
      default:
        return isZeroRegister(csr);
    }
  }

  #floatState(): number {
    return this.mstatus & isa.MSTATUS_FS;
  }

  /** fflags, frm, fcsr (unpriv-isa §20.2): no such CSRs while FS is Off (priv-isa §3.1.6.6). */
  #readFloat(csr: number): bigint | undefined {
    const { flags, frm } = this.float;
    if (this.#floatState() === 0) return undefined;
    return BigInt(csr === isa.CSR_FFLAGS ? flags : csr === isa.CSR_FRM ? frm : (frm << 5) | flags);
  }

  #writeFloat(csr: number, value: number): boolean {
    if (this.#floatState() === 0) return false;
    this.mstatus |= isa.MSTATUS_FS;
    if (csr !== isa.CSR_FRM) this.float.flags = value & 31;
    if (csr === isa.CSR_FRM) this.float.frm = value & 7;
    if (csr === isa.CSR_FCSR) this.float.frm = value >> 5;
    return true;
  }

  /**
   * A write to mtopei, whatever the value: it claims the top identity and returns it (AIA §3.9).
   */
  claim(): bigint | undefined {
    return this.#file && BigInt(this.#file.claim());
  }

  /**
   * mireg: iprio of the major interrupts is read-only zero; eip and eie have even numbers only on
   * RV64 (AIA §2.1, §3.8).
   */
  #readSelected(): bigint | undefined {
    const select = this.miselect;
    if (!this.#file) return undefined;
    if (select >= SELECT_IPRIO_FIRST && select <= SELECT_IPRIO_LAST) return select & 1 ? undefined : 0n;
    if (select < SELECT_FILE_FIRST || select > SELECT_FILE_LAST) return undefined;
    if (select >= SELECT_EIP_FIRST && select & 1) return undefined;
    return u64(this.#file.readRegister(select));
  }

  #writeSelected(value: bigint): boolean {
    if (this.#readSelected() === undefined) return false;
    if (this.miselect >= SELECT_FILE_FIRST) this.#file?.writeRegister(this.miselect, value);
    return true;
  }

  /**
   * mtopi: the major interrupt that would be taken; IPRIO is 1 where all priorities are read-only
   * zero (AIA §5.4.1).
   */
  #topInterrupt(): number {
    const irq = isa.IRQ_PRIORITY.find((candidate) => this.mip() & this.mie & (1 << candidate));
    return irq === undefined ? 0 : (irq << 16) | 1;
  }
}

/**
 * PMP and the performance counters: they exist and read zero. pmpcfg has even numbers only on RV64
 * (priv-isa §3.7.1).
 */
function isZeroRegister(csr: number): boolean {
  return (
    (csr >= isa.CSR_PMPADDR0 && csr <= isa.CSR_PMPADDR63) ||
    (csr >= isa.CSR_PMPCFG0 && csr <= isa.CSR_PMPCFG15 && (csr & 1) === 0) ||
    (csr >= isa.CSR_MHPMCOUNTER3 && csr <= isa.CSR_MHPMCOUNTER31) ||
    (csr >= isa.CSR_MHPMEVENT3 && csr <= isa.CSR_MHPMEVENT31)
  );
}
