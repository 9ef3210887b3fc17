/**
 * The harts of the machine as their owner has them: those at home, which it runs itself in turn,
 * and those that it has lent to threads of their own.
 */
import { int32s } from '../../../platform/shared.ts';
import { hartWords, OWNER_HART } from '../../machine/control/control-block.ts';
import { Lender } from '../../machine/control/lease.ts';
import type { HartLocal } from '../../machine/hart-local/hart-local.ts';
import type { Machine } from '../../machine/machine.ts';
import { FarServer } from '../../machine/shared/far-access.ts';
import type { VmShared } from '../vm-shared.ts';
import { Loan } from './loan.ts';

/** A hart comes back within a slice; this only bounds a sleep that nobody ends. */
const LOOK_AGAIN_MS = 1000;

export class Lending {
  readonly #harts: readonly HartLocal[];
  readonly #control: Int32Array;
  readonly #wake: number;
  readonly #lender: Lender;
  readonly #server: FarServer;
  /** By hart. */
  readonly #loans: readonly Loan[];
  readonly #away = new Set<HartLocal>();
  #home: readonly HartLocal[];

  constructor({ harts, shared: { bus } }: Machine, { control, loans, far }: VmShared) {
    this.#harts = harts;
    this.#home = harts;
    this.#control = int32s(control);
    this.#wake = hartWords(OWNER_HART).wake;
    this.#lender = new Lender(this.#control);
    this.#server = new FarServer(far, control, bus);
    this.#loans = harts.map(({ number }) => new Loan(loans, number));
  }

  /** The harts that the owner runs. */
  get home(): readonly HartLocal[] {
    return this.#home;
  }

  /** Makes the accesses that lent harts have posted. */
  serve(): void {
    if (this.#away.size > 0) this.#server.serve();
  }

  /** Lends each hart that a thread waits for. Whether one went. */
  lend(): boolean {
    const before = this.#away.size;
    for (const hart of this.#home) {
      const { number } = hart;
      if (number === OWNER_HART || !this.#lender.canLend(number)) continue;
      this.#loans[number]!.put(hart.save());
      this.#lender.lend(number);
      this.#away.add(hart);
    }
    if (this.#away.size === before) return false;
    this.#look();
    return true;
  }

  /**
   * Brings all harts home, and blocks until they are there. A hart that waits for a device gets its
   * answer first.
   */
  recall(): void {
    if (this.#away.size === 0) return;
    for (const { number } of this.#away) this.#lender.recall(number);
    for (;;) {
      const seen = Atomics.load(this.#control, this.#wake); // before the looks; pairs with wakeHart
      this.#server.serve();
      if ([...this.#away].every(({ number }) => this.#lender.isHome(number))) break;
      Atomics.wait(this.#control, this.#wake, seen, LOOK_AGAIN_MS); // Borrower and #access wake it
    }
    for (const hart of this.#away) hart.restore(this.#loans[hart.number]!.take());
    this.#away.clear();
    this.#look();
  }

  /** The process ends: the threads of the other harts leave. */
  end(): void {
    this.#lender.end();
    this.#server.release();
  }

  #look(): void {
    this.#home = this.#harts.filter((hart) => !this.#away.has(hart));
  }
}
