/**
 * The harts of the machine as their owner has them: those at home, which it runs itself in turn,
 * and those that it has lent to threads of their own.
 */
import { hartWords, OWNER_HART } from '../../machine/control/control-block.ts';
import { Lender } from '../../machine/control/lease.ts';

/** A hart comes back within a slice; this only bounds a sleep that nobody ends. */
const LOOK_AGAIN_MS = 1000;

/** A hart that goes over by its state. */
interface Lendable<State> {
  readonly number: number;
  save(): State;
  restore(state: State): void;
}

interface LendingOptions<State> {
  readonly control: Int32Array;
  /** Makes the accesses of lent harts. */
  readonly server: { serve(): void; release(): void };
  /** By hart: where its state goes over. */
  readonly loans: readonly { put(state: State): void; take(): State }[];
}

export class Lending<State, H extends Lendable<State>> {
  readonly #harts: readonly H[];
  readonly #options: LendingOptions<State>;
  readonly #wake: number;
  readonly #lender: Lender;
  readonly #away = new Set<H>();
  #home: readonly H[];

  constructor(harts: readonly H[], options: LendingOptions<State>) {
    this.#harts = harts;
    this.#home = harts;
    this.#options = options;
    this.#wake = hartWords(OWNER_HART).wake;
    this.#lender = new Lender(options.control);
  }

  /** The harts that the owner runs. */
  get home(): readonly H[] {
    return this.#home;
  }

  /** Makes the accesses that lent harts have posted. */
  serve(): void {
    if (this.#away.size > 0) this.#options.server.serve();
  }

  /** Lends each hart that a thread waits for. Whether one went. */
  lend(): boolean {
    const before = this.#away.size;
    for (const hart of this.#home) {
      const { number } = hart;
      if (number === OWNER_HART || !this.#lender.canLend(number)) continue;
      this.#options.loans[number]!.put(hart.save());
      this.#lender.lend(number);
      this.#away.add(hart);
    }
    if (this.#away.size === before) return false;
    this.#look();
    return true;
  }

  /**
   * Brings all harts home, and blocks until they are there. A hart that waits for a device gets its
   * answer first. Whether one was away.
   */
  recall(): boolean {
    if (this.#away.size === 0) return false;
    const { control, server, loans } = this.#options;
    for (const { number } of this.#away) this.#lender.recall(number);
    for (;;) {
      const seen = Atomics.load(control, this.#wake); // before the looks; pairs with wakeHart
      server.serve();
      if ([...this.#away].every(({ number }) => this.#lender.isHome(number))) break;
      Atomics.wait(control, this.#wake, seen, LOOK_AGAIN_MS); // Borrower and FarSurroundings wake it
    }
    for (const hart of this.#away) hart.restore(loans[hart.number]!.take());
    this.#away.clear();
    this.#look();
    return true;
  }

  /** The process ends: the threads of the other harts leave. */
  end(): void {
    this.#lender.end();
    this.#options.server.release();
  }

  #look(): void {
    this.#home = this.#harts.filter((hart) => !this.#away.has(hart));
  }
}
