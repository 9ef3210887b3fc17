import { Core } from './core.ts';
import { ControlStatus } from './csr.ts';
import type { Engine, StopReason } from './engine.ts';
import type { HartOptions, StoreJournal } from './environment.ts';
import { execute } from './execute.ts';
import { IRQ_S_TIMER } from './isa.ts';
import { Memory } from './memory.ts';
import { type HartState, restoreHart, saveHart } from './state.ts';
import { takeInterrupt } from './trap.ts';

/** Instructions between two looks at the interrupt lines: some 10 µs. */
const POLL_EVERY = 512;

/**
 * One RV64GC hart with M, S and U mode and the extensions of ISA_EXTENSIONS (isa.ts). It is an
 * interpreter that is meant to be read as the specification: a faster engine must do what this one
 * does. 64-bit values are bigints; about 45 MIPS on Node 20.
 */
export class Hart implements Engine {
  readonly #options: HartOptions;
  #core: Core;
  #journal: StoreJournal | undefined;

  constructor(options: HartOptions) {
    this.#options = options;
    this.#core = newCore(options);
  }

  get pc(): number {
    return this.#core.pc;
  }

  reset(pc: number, a0: bigint, a1: bigint): void {
    this.#core = newCore(this.#options, this.#journal);
    this.#core.pc = pc;
    this.#core.x[10] = a0;
    this.#core.x[11] = a1;
  }

  run(maxInstructions: number): StopReason {
    const core = this.#core;
    for (let left = maxInstructions; left > 0; ) {
      takeInterrupt(core);
      if (core.waiting) return 'wfi';
      left -= execute(core, Math.min(left, POLL_EVERY));
      if (this.#journal?.closing) break;
    }
    return 'budget';
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
    const core = newCore(this.#options, this.#journal);
    restoreHart(core, state);
    this.#core = core;
  }

  journalTo(journal: StoreJournal | undefined): void {
    this.#journal = journal;
    this.#core.memory = newMemory(this.#options, journal);
  }
}

const newCore = (options: HartOptions, journal?: StoreJournal): Core =>
  new Core(new ControlStatus(options), newMemory(options, journal));

function newMemory(options: HartOptions, journal: StoreJournal | undefined): Memory {
  const { ram, ramBase, ramOffset = 0, bus } = options;
  if (ramOffset % 8 !== 0 || ramBase % 8 !== 0) throw new RangeError('RAM must begin at a multiple of 8 on both sides');
  if (ram.byteLength - ramOffset > 2 ** 32) throw new RangeError('RAM of more than 4 GiB');
  return new Memory({ bytes: ram, base: ramBase, offset: ramOffset }, bus, journal);
}
