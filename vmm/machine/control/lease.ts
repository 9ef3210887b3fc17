/**
 * Which thread runs a hart. Every hart is at home with the owner: the vCPU of OWNER_HART, or main
 * in its place. The owner lends each other hart to a thread of its own, and recalls it before the
 * machine stops. So whoever saves, resets or restores the machine has all of it at hand.
 *
 *     ABSENT ─thread→ HOME ─owner→ LENT ─owner→ RECALLED ─thread→ HOME
 *
 * The hart's state goes over in shared memory (crew/vcpu/loan.ts), always before the word. A lease
 * also has the number of the crew, so a thread that was relieved never takes what is for the next
 * one. Whoever writes the word wakes the other side: the thread sleeps on the lease, or in WFI on
 * the hart's `wake`; the owner sleeps on its own `wake`.
 */
import { futexWake } from '../../../platform/libc/futex.ts';
import { ATTENTION, crewOnDuty, HartBlock, hartWords, MachineBlock, OWNER_HART } from './control-block.ts';

/** No thread has come for the hart. */
export const ABSENT = 0;
/** The owner has the hart; its thread waits. */
export const HOME = 1;
/** The thread has the hart. */
export const LENT = 2;
/** The thread shall give the hart back. */
export const RECALLED = 3;
/** The thread shall end; the hart is nobody's. */
export const ENDED = 4;

const stateOf = (lease: number): number => lease & 7;
const crewOf = (lease: number): number => lease >> 3;
const leaseWord = (crew: number, state: number): number => (crew << 3) | state;

/** How many harts the control words are for. */
const hartsIn = (control: Int32Array): number => (control.byteLength - MachineBlock.size) / HartBlock.size;

/** The thread has the hart, or has not yet given it back. */
const isAway = (lease: number): boolean => stateOf(lease) === LENT || stateOf(lease) === RECALLED;

/**
 * Wakes the thread that runs a hart, if that waits in WFI. The thread looks again at the lines, the
 * lease and its requests; the owner also at the console and at accesses of other harts.
 *
 * What it is woken for is stored before. If the hart comes home just now, the owner runs it at
 * least once before it sleeps, and sees that.
 */
export function wakeHart(control: Int32Array, hart: number): void {
  const { wake, outside, lease } = hartWords(hart);
  Atomics.add(control, wake, 1); // pairs with the loads in vcpu.ts and lent-hart.ts
  Atomics.notify(control, wake);
  // after the add; pairs with the store in crew/vcpu/sleeper.ts
  if (Atomics.load(control, outside) !== 0) futexWake({ words: control, index: wake, shared: false });
  if (hart !== OWNER_HART && !isAway(Atomics.load(control, lease))) wakeHart(control, OWNER_HART);
}

/** Makes the thread that runs a hart leave its slice, or its WFI. */
export function callAttention(control: Int32Array, hart: number): void {
  Atomics.or(control, hartWords(hart).lines, ATTENTION); // pairs with the load in Hart.run
  wakeHart(control, hart);
}

/** The attention of the hart's thread is here: it looks at everything after this. */
export function takeAttention(control: Int32Array, hart: number): boolean {
  const { lines } = hartWords(hart);
  if ((Atomics.load(control, lines) & ATTENTION) === 0) return false;
  Atomics.and(control, lines, ~ATTENTION);
  return true;
}

function put(control: Int32Array, hart: number, lease: number): void {
  const at = hartWords(hart).lease;
  Atomics.store(control, at, lease);
  Atomics.notify(control, at);
}

/**
 * Relieves the crew, which is at rest: its threads are to exit. The next request wakes them, and is
 * for the next crew. No hart is lent.
 */
export function relieveCrew(control: Int32Array): void {
  const crew = Atomics.add(control, MachineBlock.word.crew, 1) + 1; // pairs with the load in obeyed
  for (let hart = 0; hart < hartsIn(control); hart++) put(control, hart, leaseWord(crew, ABSENT));
}

/** The owner's side of the leases of one crew. */
export class Lender {
  readonly #control: Int32Array;
  readonly #crew: number;

  constructor(control: Int32Array) {
    this.#control = control;
    this.#crew = crewOnDuty(control);
  }

  /** Whether a thread waits for the hart. */
  canLend(hart: number): boolean {
    return this.#lease(hart) === leaseWord(this.#crew, HOME); // pairs with the stores of the Borrower
  }

  /** Lends a hart whose state has been written. */
  lend(hart: number): void {
    put(this.#control, hart, leaseWord(this.#crew, LENT)); // after the state; pairs with Borrower.look
  }

  /** Asks for a hart that is lent. It is back when `isHome` says so. */
  recall(hart: number): void {
    put(this.#control, hart, leaseWord(this.#crew, RECALLED)); // pairs with Borrower.look
    callAttention(this.#control, hart);
  }

  /** Whether a hart that was recalled is back, its state with it. */
  isHome(hart: number): boolean {
    return !isAway(this.#lease(hart)); // pairs with the store in Borrower.giveBack
  }

  /** The process ends: no thread is to run a hart any more. */
  end(): void {
    for (let hart = 0; hart < hartsIn(this.#control); hart++) {
      if (hart === OWNER_HART || !this.#end(hart)) continue;
      callAttention(this.#control, hart);
    }
  }

  /** False if the lease is the next crew's. */
  #end(hart: number): boolean {
    const at = hartWords(hart).lease;
    for (;;) {
      const lease = Atomics.load(this.#control, at);
      if (crewOf(lease) !== this.#crew) return false;
      if (Atomics.compareExchange(this.#control, at, lease, leaseWord(this.#crew, ENDED)) === lease) break;
    }
    Atomics.notify(this.#control, at);
    return true;
  }

  #lease(hart: number): number {
    return Atomics.load(this.#control, hartWords(hart).lease);
  }
}

/** What a hart's thread finds: it waits, runs the hart, gives it back, or ends. */
export type Order = 'wait' | 'run' | 'give back' | 'end';

/** The side of the thread that borrows a hart. It belongs to the crew on duty when it was made. */
export class Borrower {
  readonly #control: Int32Array;
  readonly #at: number;
  readonly #crew: number;
  #seen = 0;

  constructor(control: Int32Array, hart: number) {
    this.#control = control;
    this.#at = hartWords(hart).lease;
    this.#crew = crewOnDuty(control);
  }

  /** Tells the owner that the thread is there. */
  arrive(): void {
    const [absent, home] = [leaseWord(this.#crew, ABSENT), leaseWord(this.#crew, HOME)];
    // another crew may have been called meanwhile
    if (Atomics.compareExchange(this.#control, this.#at, absent, home) === absent) this.#wakeOwner();
  }

  look(): Order {
    this.#seen = Atomics.load(this.#control, this.#at); // pairs with the stores of the Lender
    switch (this.#seen) {
      case leaseWord(this.#crew, HOME):
        return 'wait';
      case leaseWord(this.#crew, LENT):
        return 'run';
      case leaseWord(this.#crew, RECALLED):
        return 'give back';
      default: // ENDED, or the word is the next crew's
        return 'end';
    }
  }

  /** After `wait`: sleeps until the lease changes, at most so long. */
  sleep(ms: number): void {
    Atomics.wait(this.#control, this.#at, this.#seen, ms); // the Lender and relieveCrew notify
  }

  /** The hart's state has been written: the owner may read it. */
  giveBack(): void {
    const [recalled, home] = [leaseWord(this.#crew, RECALLED), leaseWord(this.#crew, HOME)];
    // pairs with Lender.isHome; the process may be ending instead
    if (Atomics.compareExchange(this.#control, this.#at, recalled, home) === recalled) this.#wakeOwner();
  }

  #wakeOwner(): void {
    wakeHart(this.#control, OWNER_HART);
  }
}
