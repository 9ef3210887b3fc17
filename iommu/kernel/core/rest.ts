/**
 * Where the kernel's thread sleeps. While there are bells (bells.ts) it sleeps with them, and not
 * in the event loop: as soon as the event loop has nothing more to do, and until it has something,
 * or a bell rings.
 */
import { msUntilDue, roundsPending } from '../../../platform/next-round.ts';
import type { Attention } from './attention.ts';
import type { Bells } from './bells.ts';
import type { RestingPlace, RingingDoor } from './door.ts';

/**
 * Longest sleep. Timers of Node's own are late by so much at the most: a connection without a
 * hello, a user of VFIO that is asked again for its device.
 */
const MAX_SLEEP_MS = 1000;
/**
 * What begins in one round of the event loop may end in the next one (callbacks of closed sockets),
 * and for that there is no fd.
 */
const QUIET_ROUNDS = 2;

export class Rest implements RestingPlace {
  readonly #bells: Bells;
  readonly #attention: Attention;
  #on = false;
  /** Doors that have rung and whose calls were served. */
  #served: readonly RingingDoor[] = [];
  /** Events that the event loop has had. */
  #events = 0;
  #quietRounds = 0;

  constructor(bells: Bells, attention: Attention) {
    this.#bells = bells;
    this.#attention = attention;
    attention.bells = bells;
  }

  add(door: RingingDoor): void {
    this.#bells.add(door);
    if (this.#on) return;
    this.#on = true;
    setImmediate(this.#step);
  }

  remove(door: RingingDoor): void {
    this.#bells.remove(door);
    this.#served = this.#served.filter((one) => one !== door);
  }

  /** No door is there any more. */
  close(): void {
    this.#bells.close();
  }

  readonly #step = (): void => {
    if (this.#bells.empty) {
      this.#on = false;
      return;
    }
    setImmediate(this.#step);
    if (!this.#isQuiet()) return;
    // Woken by a client that rings, by whatever wakes the event loop, and by the first timer.
    this.#bells.wait(Math.min(MAX_SLEEP_MS, msUntilDue()));
    this.#serveRung();
    this.#quietRounds = 0;
  };

  /** Whether the event loop has had nothing to do for some rounds, and has nothing to do. */
  #isQuiet(): boolean {
    const rung = this.#serveRung();
    const { events } = performance.nodeTiming.uvMetricsInfo;
    const quiet = !rung && events === this.#events && !roundsPending();
    this.#events = events;
    this.#quietRounds = quiet ? this.#quietRounds + 1 : 0;
    return this.#quietRounds >= QUIET_ROUNDS;
  }

  /** Whether there was something to do. */
  #serveRung(): boolean {
    const served = this.#served;
    this.#served = [];
    // A call that has not ended by now sleeps.
    for (const door of served) door.inTurn(() => this.#armAgain(door));
    const rung = this.#bells.take();
    for (const door of rung) door.inTurn(() => this.#serve(door));
    return served.length > 0 || rung.length > 0;
  }

  #serve(door: RingingDoor): void {
    if (!this.#bells.has(door)) return; // it has gone before its turn came
    this.#attention.rung(door);
    this.#served = [...this.#served, door];
  }

  #armAgain(door: RingingDoor): void {
    if (this.#bells.has(door) && !this.#attention.looksAt(door)) this.#bells.arm(door);
  }
}
