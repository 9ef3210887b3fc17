import { Core, newRegisters, type RegisterFile } from './core.ts';
import { ControlStatus } from './csr.ts';
import type { Engine, StopReason } from './engine.ts';
import type { HartOptions, StoreJournal } from './environment.ts';
import { execute } from './execute.ts';
import { IRQ_M_TIMER, IRQ_S_TIMER } from './isa.ts';
import { Memory } from './memory.ts';
import { type HartState, restoreHart, saveHart } from './state.ts';
import { takeInterrupt } from './trap.ts';

/** What executes a hart's instructions. */
export interface Executor {
  /** Instructions between two looks at the interrupt lines. */
  readonly pollEvery: number;
  /** The memory of the hart's registers, if it must be a certain one. */
  readonly registers?: RegisterFile;
  /** Instructions that have been interpreted, where others are far faster. */
  readonly interpreted?: number;
  /** Execution begins anew with this core. */
  begin(core: Core): void;
  /**
   * Executes at most `budget` instructions and returns how many were begun; early after one that
   * may change which interrupt is taken.
   */
  execute(core: Core, budget: number): number;
}

/**
 * A run ends after so many instructions that are interpreted, about 1 ms, if its caller counts on
 * faster ones.
 */
const INTERPRET_MOST = 1 << 15;

const MTIE = 1 << IRQ_M_TIMER;

/** Some 10 µs. */
const INTERPRETER: Executor = { pollEvery: 512, begin: () => {}, execute };

/**
 * One RV64GC hart with M, S and U mode and the extensions of ISA_EXTENSIONS (isa.ts). It is an
 * interpreter that is meant to be read as the specification: a faster engine must do what this one
 * does. 64-bit values are bigints; about 45 MIPS on Node 20.
 */
export class Hart implements Engine {
  readonly #options: HartOptions;
  readonly #executor: Executor;
  #core: Core;
  #journal: StoreJournal | undefined;

  constructor(options: HartOptions, executor = INTERPRETER) {
    this.#options = options;
    this.#executor = executor;
    this.#core = this.#newCore();
  }

  get pc(): number {
    return this.#core.pc;
  }

  reset(pc: number, a0: bigint, a1: bigint): void {
    this.#core = this.#newCore();
    this.#core.pc = pc;
    this.#core.x[10] = a0;
    this.#core.x[11] = a1;
  }

  run(maxInstructions: number): StopReason {
    const core = this.#core;
    const executor = this.#executor;
    const interpreted = executor.interpreted ?? 0;
    const { poll, timer, horizon } = this.#options;
    for (let left = maxInstructions; left > 0; ) {
      poll?.();
      if (timer && core.csr.mie & MTIE) timer();
      takeInterrupt(core);
      if (core.waiting) return 'wfi';
      const most = Math.min(left, executor.pollEvery, horizon ? horizon() : left);
      if (most === 0) break;
      left -= executor.execute(core, most);
      if ((executor.interpreted ?? 0) - interpreted > INTERPRET_MOST) break;
      if (this.#journal?.closing) break;
      if (this.#isCalled()) break;
    }
    return 'budget';
  }

  #isCalled(): boolean {
    const { lines, lineIndex, attention = 0 } = this.#options;
    return (Atomics.load(lines, lineIndex) & attention) !== 0; // pairs with whoever sets the bit
  }

  fence(): void {
    this.#core.csr.stale = true;
    this.#core.codeFences++;
  }

  get begun(): number {
    return this.#core.csr.begun;
  }

  deadline(): bigint | undefined {
    const { csr } = this.#core;
    return csr.hasStimecmp() && csr.mie & (1 << IRQ_S_TIMER) ? csr.stimecmp : undefined;
  }

  /** The value of x1–x31, unsigned, as a debugger or a test wants it. */
  register(index: number): bigint {
    return BigInt.asUintN(64, this.#core.x[index] ?? 0n);
  }

  save(): HartState {
    return saveHart(this.#core);
  }

  /** Throws EINVAL, with the hart as it was, for a state of an unknown version. */
  restore(state: HartState): void {
    const core = this.#newCore();
    restoreHart(core, state);
    this.#core = core;
  }

  #newCore(): Core {
    const { registers = newRegisters() } = this.#executor;
    registers.x.fill(0n);
    registers.f.fill(0n);
    registers.fcsr.fill(0);
    const csr = new ControlStatus(this.#options, registers.trap);
    const core = new Core(csr, newMemory(this.#options, this.#journal), registers);
    core.semihosting = this.#options.semihosting;
    this.#executor.begin(core);
    return core;
  }

  journalTo(journal: StoreJournal | undefined): void {
    this.#journal = journal;
    this.#core.memory = newMemory(this.#options, journal);
  }
}

function newMemory(options: HartOptions, journal: StoreJournal | undefined): Memory {
  const { ram, ramBase, ramOffset = 0, ramSize = ram.byteLength - ramOffset, bus } = options;
  if (ramOffset % 8 !== 0 || ramBase % 8 !== 0) throw new RangeError('RAM must begin at a multiple of 8 on both sides');
  if (ramSize > 2 ** 32) throw new RangeError('RAM of more than 4 GiB');
  return new Memory({ bytes: ram, base: ramBase, offset: ramOffset, size: ramSize }, bus, journal);
}
