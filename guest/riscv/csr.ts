import type { HartOptions, InterruptFile } from './environment.ts';
import { FloatRegisters } from './float/registers.ts';
import * as isa from './isa.ts';
import { Pmp } from './pmp.ts';
import { TrapRegisters } from './trap-registers.ts';

const u64 = (value: bigint): bigint => BigInt.asUintN(64, value);

/**
 * What a hart keeps beside x, f and pc: its mode and the state behind its CSRs (priv-isa §3.1,
 * §10.1). csr-table.ts says how software sees it. bigints are unsigned 64-bit values. `words` are
 * the memory of the TrapRegisters.
 *
 * NOT MODELLED: hardware performance counters (read zero), triggers, non-standard local interrupts.
 */
export class ControlStatus extends TrapRegisters {
  mideleg = 0;
  mie = 0;
  /** Bits of mip that software has set: SSIP, STIP, SEIP. */
  softPending = 0;
  mcounteren = 0;
  /**
   * As in QEMU, page-table bits A and D are updated by hardware unless software asks for faults.
   */
  menvcfg = isa.ENVCFG_ADUE;
  miselect = 0;
  scounteren = 0;
  senvcfg = 0n;
  siselect = 0;
  satp = 0n;
  stimecmp = 0n;
  /** Instructions begun since construction; `trapped` are those of them that did not retire. */
  begun = 0;
  /** What software wrote to mcycle and minstret, less the counts at that moment. */
  cycleOffset = 0n;
  instretOffset = 0n;
  /** True if the TLBs must be emptied before the next instruction. */
  stale = false;
  /** The core's. */
  float = new FloatRegisters();
  readonly pmp = new Pmp();
  readonly hartId: bigint;
  /** The interrupt files of M and S level. */
  readonly file: InterruptFile | undefined;
  readonly supervisorFile: InterruptFile | undefined;
  readonly time: () => bigint;
  /** Time is counted by instructions: `begun` must be exact wherever it can be seen. */
  readonly counted: boolean;
  readonly #lines: Int32Array;
  readonly #lineIndex: number;

  constructor(options: HartOptions, words?: BigUint64Array) {
    super(words);
    this.hartId = BigInt(options.hartId);
    this.file = options.interruptFile;
    this.supervisorFile = options.supervisorFile;
    this.time = () => options.time();
    this.counted = options.horizon !== undefined;
    this.#lines = options.lines;
    this.#lineIndex = options.lineIndex;
  }

  /**
   * mip: the lines that the machine drives, what software has set, and the timer of Sstc. Pairs
   * with the Atomics.or/and of the threads that drive the lines.
   */
  mip(): number {
    const lines = Atomics.load(this.#lines, this.#lineIndex) & isa.IRQ_MASK;
    if (!this.hasStimecmp()) return lines | this.softPending;
    const due = this.time() >= this.stimecmp ? 1 << isa.IRQ_S_TIMER : 0;
    return lines | (this.softPending & ~(1 << isa.IRQ_S_TIMER)) | due;
  }

  /** Sstc is enabled: STIP follows stimecmp. */
  hasStimecmp(): boolean {
    return this.menvcfg >= isa.ENVCFG_STCE; // bit 63
  }

  /**
   * The pending and enabled interrupts that go to M mode, or to S mode where mideleg says so
   * (priv-isa §3.1.9, §10.1.3), whatever the mode and the global enables.
   */
  pending(mode: number): number {
    const pending = this.mip() & this.mie;
    return mode === isa.MODE_M ? pending & ~this.mideleg : pending & this.mideleg;
  }

  /** The mode that loads and stores are made as (MPRV, priv-isa §3.1.6.3). */
  dataMode(): number {
    return this.mstatus & isa.MSTATUS_MPRV ? this.mpp() : this.mode;
  }

  mpp(): number {
    return (this.mstatus & isa.MSTATUS_MPP) >> isa.MPP_SHIFT;
  }

  mcycle(): bigint {
    return u64(BigInt(this.begun) + this.cycleOffset);
  }

  minstret(): bigint {
    return u64(BigInt(this.begun - this.trapped) + this.instretOffset);
  }
}
