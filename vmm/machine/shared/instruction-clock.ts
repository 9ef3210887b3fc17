/**
 * Guest time that is counted by instructions (`-icount`): each instruction that a hart begins takes
 * a power of two of nanoseconds. The harts run one after the other, so the instructions of all of
 * them count. While all wait, whoever runs them moves time on.
 *
 * Only the owner of what all harts share has it: no hart is lent.
 */
import { type MachineClock, NS_PER_TICK } from './clock.ts';

/** What tells how far the hart that runs has come. */
export interface CountedHart {
  /** Engine.begun */
  readonly begun: number;
}

export class InstructionClock implements MachineClock {
  readonly #nsPerInstruction: number;
  /** mtime at the last #settle. */
  #mtime = 0n;
  /** Ticks since the first power-on, at the last #settle. */
  #ticks = 0n;
  /** Nanoseconds that had passed then beside whole ticks. */
  #rest = 0;
  /** Instructions since the first power-on, at the last #settle. */
  #instructions = 0;
  #hart: CountedHart | undefined;
  /** The hart's count when its slice began. */
  #began = 0;
  /** Its count at the last #settle. */
  #from = 0;

  /** `shift`: an instruction takes 2^shift ns. */
  constructor(shift: number) {
    this.#nsPerInstruction = 2 ** shift;
  }

  now(): bigint {
    return BigInt.asUintN(64, this.#mtime + BigInt(Math.floor(this.#sinceTick() / NS_PER_TICK)));
  }

  set(value: bigint): void {
    this.#settle();
    this.#mtime = value;
  }

  /** Time passes by instructions and by `advance` only. */
  start(): void {}
  stop(): void {}

  /** Nanoseconds of guest time since the first power-on; a write to mtime does not change them. */
  get ns(): bigint {
    return this.#ticks * BigInt(NS_PER_TICK) + BigInt(this.#sinceTick());
  }

  /** Instructions that all harts have begun since the first power-on. */
  get instructions(): number {
    return this.#instructions + this.#executed();
  }

  /** While no hart runs. */
  set instructions(instructions: number) {
    this.#instructions = instructions;
  }

  /** The hart runs until `end`. */
  begin(hart: CountedHart): void {
    this.#hart = hart;
    this.#began = this.#from = hart.begun;
  }

  /** The hart's slice ends; it had so many instructions. */
  end(): number {
    this.#settle();
    this.#hart = undefined;
    return this.#from - this.#began;
  }

  /** While no hart runs: so many nanoseconds pass. */
  advance(ns: number): void {
    this.#rest += Math.floor(ns);
    this.#settle();
  }

  /** Nanoseconds from now until mtime is `mtime`; negative for what has passed. */
  nsUntil(mtime: bigint): number {
    return Number(mtime - this.#mtime) * NS_PER_TICK - this.#sinceTick();
  }

  /** How many instructions take at least so many nanoseconds; at least 1. */
  instructionsIn(ns: number): number {
    return Math.max(1, Math.ceil(ns / this.#nsPerInstruction));
  }

  /** The clock of a machine whose time since power-on is `ns`; mtime is set apart. */
  restore(ns: bigint): void {
    this.#ticks = ns / BigInt(NS_PER_TICK);
    this.#rest = Number(ns % BigInt(NS_PER_TICK));
  }

  #executed(): number {
    return this.#hart ? this.#hart.begun - this.#from : 0;
  }

  #sinceTick(): number {
    return this.#rest + this.#executed() * this.#nsPerInstruction;
  }

  /** What has passed goes into whole ticks. */
  #settle(): void {
    const ns = this.#sinceTick();
    const ticks = Math.floor(ns / NS_PER_TICK);
    this.#mtime = BigInt.asUintN(64, this.#mtime + BigInt(ticks));
    this.#ticks += BigInt(ticks);
    this.#rest = ns - ticks * NS_PER_TICK;
    const executed = this.#executed();
    this.#instructions += executed;
    this.#from += executed;
  }
}
