/**
 * Actors that cannot go on. An actor is blocked in a modelled Atomics.wait until a notify or its
 * time-out, or it spins on a word until the word is written. This is state of the control words,
 * and only the thread that holds the baton changes it.
 */
import {
  BLOCKED_BUFFER,
  BLOCKED_DEADLINE,
  BLOCKED_ORDER,
  BLOCKED_TIMED_OUT,
  BLOCKED_WORD,
  blockedLine,
  Control,
  type ControlBuffers,
  MAX_ACTORS,
  SPIN_BUFFER,
  SPIN_WORD,
  TIMEOUTS_ANY,
  TIMEOUTS_IDLE,
} from './control.ts';
import { lowest } from './schedule.ts';

/** Spinning actors are let go on so often when nobody else can run: then it is a deadlock. */
const MAX_IDLE_SPINS = 8;

export class Waiting {
  readonly #words: Int32Array;
  readonly #doubles: Float64Array;

  constructor(buffers: ControlBuffers) {
    this.#words = new Int32Array(buffers.control);
    this.#doubles = new Float64Array(buffers.control);
  }

  /** The actor waits on the word, with a time-out or (infinity) without. */
  block(actor: number, buffer: number, word: number, timeoutMs: number): void {
    const words = this.#words;
    const line = blockedLine(actor);
    const bit = 1 << actor;
    words[line + BLOCKED_BUFFER] = buffer;
    words[line + BLOCKED_WORD] = word;
    words[line + BLOCKED_ORDER] = words[Control.word.waits]!;
    words[line + BLOCKED_TIMED_OUT] = 0;
    words[Control.word.waits]!++;
    words[Control.word.ready]! &= ~bit;
    if (timeoutMs === Number.POSITIVE_INFINITY) return;
    words[Control.word.timed]! |= bit;
    this.#doubles[line / 2 + BLOCKED_DEADLINE] = this.#doubles[Control.word64.clock]! + timeoutMs;
  }

  /** Whether the actor's last wait ended by its time-out. */
  timedOut(actor: number): boolean {
    return this.#words[blockedLine(actor) + BLOCKED_TIMED_OUT] === 1;
  }

  /**
   * Wakes up to `count` actors blocked on the word, the longest waiting first (ECMA-262
   * Atomics.notify).
   */
  wake(buffer: number, word: number, count: number): number {
    const words = this.#words;
    let woken = 0;
    while (woken < count) {
      let first = -1;
      let order = 0;
      for (let actor = 0; actor < MAX_ACTORS; actor++) {
        const line = blockedLine(actor);
        if (words[line + BLOCKED_BUFFER] !== buffer || words[line + BLOCKED_WORD] !== word) continue;
        if (first >= 0 && words[line + BLOCKED_ORDER]! > order) continue;
        first = actor;
        order = words[line + BLOCKED_ORDER]!;
      }
      if (first < 0) break;
      this.#unblock(first);
      woken++;
    }
    return woken;
  }

  /** Bits of the actors whose time-out may fire now. */
  fireable(live: number): number {
    const words = this.#words;
    const policy = words[Control.word.timeouts]!;
    const may = policy === TIMEOUTS_ANY || (policy === TIMEOUTS_IDLE && words[Control.word.ready] === 0);
    return may && live !== 0 ? words[Control.word.timed]! : 0;
  }

  /** The time-out of a blocked actor comes: its deadline is now, or is past. */
  fire(actor: number): void {
    const line = blockedLine(actor);
    const deadline = this.#doubles[line / 2 + BLOCKED_DEADLINE]!;
    if (deadline > this.#doubles[Control.word64.clock]!) this.#doubles[Control.word64.clock] = deadline;
    this.#words[line + BLOCKED_TIMED_OUT] = 1;
    this.#unblock(actor);
  }

  #unblock(actor: number): void {
    const words = this.#words;
    words[blockedLine(actor) + BLOCKED_BUFFER] = -1;
    words[Control.word.ready]! |= 1 << actor;
    words[Control.word.timed]! &= ~(1 << actor);
  }

  /** The actor spins on the word. */
  spin(actor: number, buffer: number, word: number): void {
    const words = this.#words;
    const line = blockedLine(actor);
    words[line + SPIN_BUFFER] = buffer;
    words[line + SPIN_WORD] = word;
    words[Control.word.ready]! &= ~(1 << actor);
    words[Control.word.spinning]! |= 1 << actor;
  }

  /** The words were written: who spins on one goes on. */
  written(buffer: number, word: number, count: number): void {
    const words = this.#words;
    for (let spinning = words[Control.word.spinning]!; spinning !== 0; spinning &= spinning - 1) {
      const actor = lowest(spinning);
      const line = blockedLine(actor);
      const at = words[line + SPIN_WORD]!;
      if (words[line + SPIN_BUFFER] !== buffer || at < word || at >= word + count) continue;
      words[Control.word.spinning]! &= ~(1 << actor);
      words[Control.word.ready]! |= 1 << actor;
    }
  }

  /** Nobody can run but by spinning on: lets them, for a while. */
  releaseSpins(): void {
    const words = this.#words;
    if (words[Control.word.spinning] === 0 || words[Control.word.idleSpins]! >= MAX_IDLE_SPINS) return;
    words[Control.word.idleSpins]!++;
    words[Control.word.ready]! |= words[Control.word.spinning]!;
    words[Control.word.spinning] = 0;
  }
}
