/**
 * The life of a thread that runs one hart when the owner lends it (machine/control/lease.ts). While
 * it has none it sleeps on the lease; while the hart is in WFI, on the hart's `wake`. Both sleeps
 * are bounded.
 */
import { monotonicNs } from '../../../platform/clock.ts';
import { float64s, int32s } from '../../../platform/shared.ts';
import { hartWords, hartWords64 } from '../../machine/control/control-block.ts';
import { Borrower, takeAttention } from '../../machine/control/lease.ts';
import { farHart } from '../../machine/far-hart.ts';
import { type HartLocal, preparedTranslator, type Translator } from '../../machine/hart-local/hart-local.ts';
import { msOf } from '../../machine/shared/clock.ts';
import { FarSurroundings } from '../../machine/shared/far-access.ts';
import { RAM_BASE } from '../../machine/shared/memory-map.ts';
import type { VmShared } from '../vm-shared.ts';
import { Budget, COUNT_EVERY_NS, LONGEST_WFI_MS } from './budget.ts';
import { Loan } from './loan.ts';
import type { MachineParts } from './protocol.ts';

const LONGEST_WAIT_MS = 1000;

/** Returns when the hart is nobody's any more, or the next crew's. */
export function runLentHart(shared: VmShared, number: number, parts: MachineParts): void {
  const control = int32s(shared.control);
  const borrower = new Borrower(control, number);
  const loan = new Loan(shared.loans, number);
  let slices: Slices | undefined;
  const translator = preparedTranslator(number, { ...parts.ram, base: RAM_BASE }, parts.accel);
  borrow(control, number, borrower, {
    take() {
      // not earlier: its registers may lie where the owner has them, too
      slices ??= new Slices(newHart(shared, number, { ...parts, translator }, borrower), shared);
      slices.hart.restore(loan.take());
    },
    run: (seen) => slices!.run(seen),
    giveBack() {
      loan.put(slices!.hart.save());
      slices!.count();
    },
  });
}

/** What a thread does with its hart. */
export interface Borrowed {
  /** Takes the hart's state over. */
  take(): void;
  /** Runs a slice; if the guest waits, sleeps after it until `wake` is not `seen` any more. */
  run(seen: number): void;
  /** Writes the hart's state for the owner. */
  giveBack(): void;
}

/** Obeys the lease of a hart until the thread must end. */
export function borrow(control: Int32Array, hart: number, borrower: Borrower, borrowed: Borrowed): void {
  const { wake } = hartWords(hart);
  let has = false;
  borrower.arrive();
  for (;;) {
    // Both before the look, so that the thread sleeps through no recall: pairs with callAttention.
    const seen = Atomics.load(control, wake);
    takeAttention(control, hart);
    switch (borrower.look()) {
      case 'wait':
        borrower.sleep(LONGEST_WAIT_MS);
        break;
      case 'run':
        if (!has) borrowed.take();
        has = true;
        borrowed.run(seen);
        break;
      case 'give back':
        if (has) borrowed.giveBack(); // else the owner finds what it has written itself
        has = false;
        borrower.giveBack();
        break;
      case 'end':
        return;
    }
  }
}

function newHart(
  shared: VmShared,
  number: number,
  { ram, accel, translator, aia, semihosting }: MachineParts & { readonly translator: Translator | undefined },
  borrower: Borrower,
): HartLocal {
  const { control, imsic } = shared;
  const far = new FarSurroundings(shared.far, control, number, () => borrower.look() === 'end');
  return farHart({
    ...{ number, ram, control, imsic },
    ...(accel ? { accel } : {}),
    translator,
    aia: (aia ?? 'aplic-imsic') !== 'none',
    far,
    semihosting: semihosting && far.semihosting(semihosting.userspace),
  });
}

class Slices {
  readonly hart: HartLocal;
  readonly #control: Int32Array;
  readonly #counters: Float64Array;
  readonly #wake: number;
  readonly #words64: ReturnType<typeof hartWords64>;
  readonly #budget = new Budget();
  #counted = 0;

  constructor(hart: HartLocal, shared: VmShared) {
    this.hart = hart;
    this.#control = int32s(shared.control);
    this.#counters = float64s(shared.control);
    this.#wake = hartWords(hart.number).wake;
    this.#words64 = hartWords64(hart.number);
  }

  run(seen: number): void {
    const { engine, timer } = this.hart;
    timer.update();
    const start = monotonicNs();
    const reason = engine.run(this.#budget.instructions);
    const end = monotonicNs();
    if (end - this.#counted > COUNT_EVERY_NS) this.count(end);
    if (reason === 'budget') {
      this.#budget.adapt(end - start);
      return;
    }
    const left = timer.ticksLeft(engine.deadline());
    const ms = left === undefined ? LONGEST_WFI_MS : Math.min(msOf(left), LONGEST_WFI_MS);
    Atomics.wait(this.#control, this.#wake, seen, ms); // wakeHart wakes it, for a recall, too
  }

  /** Tells main how far the hart is. */
  count(now = monotonicNs()): void {
    this.#counted = now;
    this.#counters[this.#words64.instructions] = Number(this.hart.engine.save().minstret);
    this.#counters[this.#words64.exits] = this.hart.exits;
  }
}
