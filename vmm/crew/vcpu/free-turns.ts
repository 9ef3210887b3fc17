/**
 * Turns in real time: harts are lent to threads of their own where there are some, and the others
 * run in turn. A slice takes about a millisecond.
 */
import type { StopReason } from '../../../guest/riscv/engine.ts';
import { OWNER_HART } from '../../machine/control/control-block.ts';
import { takeAttention } from '../../machine/control/lease.ts';
import type { HartLocal, HartLocalState } from '../../machine/hart-local/hart-local.ts';
import { msOf } from '../../machine/shared/clock.ts';
import { Budget } from './budget.ts';
import type { Lending } from './lending.ts';
import type { Slice, Turns } from './turns.ts';

export interface FreeTurnsOptions {
  readonly harts: readonly HartLocal[];
  readonly control: Int32Array;
  readonly lending: Lending<HartLocalState, HartLocal>;
  /** Whether harts are lent. */
  readonly lends: boolean;
}

export class FreeTurns implements Turns {
  readonly #options: FreeTurnsOptions;
  /** By hart. */
  readonly #budgets: readonly Budget[];
  /** Index of the hart that has run last, in `home`. */
  #last = 0;
  /** The budget of that hart. */
  #budget: Budget;
  #waiting = 0;

  constructor(options: FreeTurnsOptions) {
    this.#options = options;
    this.#budgets = options.harts.map(() => new Budget());
    this.#budget = this.#budgets[OWNER_HART]!;
  }

  get someWait(): boolean {
    return this.#waiting > 0;
  }

  next(mayPublish: boolean): Slice {
    const hart = this.#nextHart(mayPublish);
    this.#budget = this.#budgets[hart.number]!;
    return { hart, instructions: this.#budget.instructions, looks: true };
  }

  #nextHart(mayPublish: boolean): HartLocal {
    const { harts, lending, lends, control } = this.#options;
    if (harts.length === 1) return harts[0]!;
    // who has come home has not been looked at
    if (mayPublish ? lending.recall() : lends && lending.lend()) this.#waiting = 0;
    const { home } = lending;
    this.#last = (this.#last + 1) % home.length;
    const hart = home[this.#last]!;
    if (hart.number !== OWNER_HART) takeAttention(control, hart.number); // it has been home since
    return hart;
  }

  run({ hart, instructions }: Slice): StopReason {
    return hart.engine.run(instructions);
  }

  ended(reason: StopReason, tookNs: number | undefined): boolean {
    if (reason !== 'wfi') {
      if (tookNs !== undefined) this.#budget.adapt(tookNs);
      this.#waiting = 0;
      return false;
    }
    if (++this.#waiting < this.#options.lending.home.length) return false;
    this.#waiting = 0;
    return true;
  }

  jump(): boolean {
    return false;
  }

  waits(): void {}

  dueMs(): number | undefined {
    let ms: number | undefined;
    for (const { timer, engine } of this.#options.lending.home) {
      const left = timer.ticksLeft(engine.deadline());
      if (left !== undefined) ms = Math.min(ms ?? Number.POSITIVE_INFINITY, msOf(left));
    }
    return ms;
  }

  rest(): void {
    this.#waiting = 0;
  }
}
