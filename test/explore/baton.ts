/**
 * The scheduler. It runs in the thread that holds the baton. So a step that goes on with the same
 * actor costs no thread switch, and an execution costs about as many switches as it has preemptions
 * and actors.
 */
import {
  Control,
  type ControlBuffers,
  DEFAULT,
  goWord,
  MAIN,
  OUTCOME_DEADLOCK,
  OUTCOME_DIVERGED,
  OUTCOME_DONE,
  OUTCOME_RUNNING,
  OUTCOME_STEPS,
  STATE_WORDS,
  TIMEOUT,
} from './control.ts';
import { encodeAccess } from './enumeration.ts';
import { History } from './history.ts';
import { lowest } from './schedule.ts';
import { Waiting } from './waiting.ts';

/** Thrown into an actor's body to unwind it when the execution is over. */
export class Unwind extends Error {}

/** As many loads of one word in a row, with nothing else between, are a spin loop. */
const SPIN_LOADS = 3;

export class Baton {
  readonly #me: number;
  readonly #words: Int32Array;
  readonly #doubles: Float64Array;
  readonly #picks: Int8Array;
  readonly #options: Int32Array;
  readonly #states: Int32Array;
  readonly #accesses: Int32Array;
  readonly #text: Uint8Array;
  readonly #access: readonly Uint16Array[];
  readonly #history: History;
  readonly #waiting: Waiting;
  /**
   * The grant that woke this actor covers its next operation too: what lies between touches no
   * shared word.
   */
  #granted = false;
  /** Loads of one word in a row, and the version they saw. */
  #loads = 0;
  #loadBuffer = -1;
  #loadWord = -1;
  #loadVersion = 0;

  constructor(me: number, buffers: ControlBuffers) {
    this.#me = me;
    this.#words = new Int32Array(buffers.control);
    this.#doubles = new Float64Array(buffers.control);
    this.#picks = new Int8Array(buffers.picks);
    this.#options = new Int32Array(buffers.options);
    this.#states = new Int32Array(buffers.states);
    this.#accesses = new Int32Array(buffers.accesses);
    this.#text = new Uint8Array(buffers.text);
    this.#access = buffers.access.map((map) => new Uint16Array(map));
    this.#history = new History(me, buffers);
    this.#waiting = new Waiting(buffers);
  }

  /**
   * Waits for the baton; false when it did not come in time. Woken by pass() of whoever holds it.
   * To look for a while before sleeping costs more than it saves as soon as there are more threads
   * than processors (measured).
   */
  sleep(timeoutMs = Number.POSITIVE_INFINITY): boolean {
    const words = this.#words;
    const go = goWord(this.#me);
    while (Atomics.compareExchange(words, go, 1, 0) !== 1) {
      if (Atomics.wait(words, go, 0, timeoutMs) === 'timed-out') return false;
    }
    return true;
  }

  pass(to: number): void {
    const go = goWord(to);
    Atomics.store(this.#words, go, 1); // pairs with the compareExchange in sleep
    Atomics.notify(this.#words, go);
  }

  /**
   * The scheduler's turn on the explorer's thread: grants the first step and returns when the
   * execution is over.
   */
  run(timeoutMs: number): boolean {
    const next = this.#choose(0, true);
    if (next >= 0) this.pass(next);
    return next < 0 || this.sleep(timeoutMs);
  }

  /** Called when a body is to start, with the baton in hand. */
  start(): void {
    this.#granted = true;
    this.#loads = 0;
  }

  /**
   * HOT. The scheduling point before an access. Unless the order with another actor's access
   * matters, a preemption here would equal one before the next access where it does: the actor goes
   * on.
   */
  before(buffer: number, word: number, count: number, mayWrite: boolean): void {
    this.#loads = 0;
    let conflict = false;
    for (let i = word; i < word + count; i++) if (this.#conflicts(buffer, i, mayWrite)) conflict = true;
    this.#point(conflict);
    this.#accesses[this.#words[Control.word.step]! - 1] = encodeAccess(buffer, word, count, mayWrite);
  }

  /**
   * As before(), for an atomic load of one word: one that is repeated without end is not granted
   * until the word changes.
   */
  beforeLoad(buffer: number, word: number): void {
    const version = this.#history.version(buffer, word);
    const again = buffer === this.#loadBuffer && word === this.#loadWord && version === this.#loadVersion;
    const loads = again ? this.#loads + 1 : 1;
    this.before(buffer, word, 1, false);
    this.#loads = loads;
    this.#loadBuffer = buffer;
    this.#loadWord = word;
    this.#loadVersion = this.#history.version(buffer, word);
    if (this.#loadVersion !== version) this.#loads = 1;
    else if (loads >= SPIN_LOADS) this.#spin(buffer, word);
  }

  /** The access has been made. */
  after(buffer: number, word: number, count: number, wrote: boolean): void {
    for (let i = word; i < word + count; i++) this.#history.access(buffer, i, wrote);
    if (wrote) this.#waiting.written(buffer, word, count);
  }

  /** Blocks this actor until a notify on the word or, where time-outs may fire, its time-out. */
  block(buffer: number, word: number, timeoutMs: number): 'ok' | 'timed-out' {
    this.#waiting.block(this.#me, buffer, word, timeoutMs);
    this.#handOver(this.#choose(0, true));
    this.#granted = true;
    const timedOut = this.#waiting.timedOut(this.#me);
    this.#history.learn(timedOut ? 1 : 0);
    return timedOut ? 'timed-out' : 'ok';
  }

  /** Wakes up to `count` actors blocked on the word. */
  wake(buffer: number, word: number, count: number): number {
    return this.#waiting.wake(buffer, word, count);
  }

  /** The body has returned or thrown: gives the baton on. */
  finish(outcome = OUTCOME_RUNNING): void {
    const words = this.#words;
    const bit = 1 << this.#me;
    words[Control.word.ready]! &= ~bit;
    words[Control.word.unfinished]! &= ~bit;
    this.#granted = false;
    let next = -1;
    if (outcome !== OUTCOME_RUNNING) words[Control.word.outcome] = outcome;
    else if (words[Control.word.aborting] === 0) next = this.#choose(0, true);
    this.pass(next < 0 ? MAIN : next);
  }

  /**
   * Reads the modelled clock, in milliseconds. An actor that looks at the clock is not spinning:
   * time will pass.
   */
  clock(): number {
    const now = this.#doubles[Control.word64.clock]!;
    this.#loads = 0;
    this.#history.learn(now);
    return now;
  }

  logging(): boolean {
    return this.#words[Control.word.logging] === 1;
  }

  /** Appends what this actor did to the text: step, actor and operation. */
  log(event: string): void {
    this.write(`${this.#words[Control.word.step]! - 1}\t${this.#me}\t${event}`);
  }

  /** Appends a line to the text. */
  write(line: string): void {
    const length = this.#words[Control.word.textLength]!;
    const encoded = new TextEncoder().encode(`${line}\n`);
    if (length + encoded.length > this.#text.length) return; // full: the report shows what is there
    this.#text.set(encoded, length);
    this.#words[Control.word.textLength] = length + encoded.length;
  }

  #point(conflict: boolean): void {
    const me = this.#me;
    if (this.#words[Control.word.aborting] === 1) throw new Unwind();
    if (this.#granted) {
      this.#granted = false;
      return;
    }
    this.#handOver(this.#choose(1 << me, conflict));
  }

  #handOver(next: number): void {
    if (next === this.#me) return;
    this.pass(next < 0 ? MAIN : next);
    this.sleep();
    if (this.#words[Control.word.aborting] === 1) throw new Unwind();
  }

  /**
   * Notes an access of this actor and says whether its order with the accesses of others matters.
   */
  #conflicts(buffer: number, word: number, write: boolean): boolean {
    const map = this.#access[buffer]!;
    const before = map[word]!;
    const bit = 1 << this.#me;
    const now = before | bit | (write ? bit << 8 : 0);
    const all = (now | (now >> 8)) & 0xff;
    const conflict = now >> 8 !== 0 && (all & (all - 1)) !== 0;
    if (now !== before) {
      map[word] = now;
      if (conflict) this.#words[Control.word.learned] = 1;
    }
    return conflict;
  }

  /**
   * Suspends this actor until the word it spins on is written. It has the grant for the load it is
   * about to make.
   */
  #spin(buffer: number, word: number): void {
    this.#waiting.spin(this.#me, buffer, word);
    this.#handOver(this.#choose(0, true));
  }

  /**
   * HOT. Decides who makes the next step: `runnable` is the bit of the actor that asks if it can go
   * on, 0 if it blocked or ended. Returns the actor, or −1 when the execution is over.
   */
  #choose(runnable: number, conflict: boolean): number {
    const words = this.#words;
    const budget = words[Control.word.preemptions]!;
    const live = words[Control.word.unfinished]! & ~words[Control.word.daemons]!;
    const timed = this.#waiting.fireable(live);
    if ((words[Control.word.ready]! | timed) === 0 && live !== 0) this.#waiting.releaseSpins();
    const ready = words[Control.word.ready]!;
    let options = ready;
    if (ready === 0 || (budget > 0 && conflict)) options |= timed << TIMEOUT;
    if (runnable !== 0 && (budget <= 0 || !conflict)) options = runnable;
    if (options === 0) return this.#over(live === 0 ? OUTCOME_DONE : OUTCOME_DEADLOCK);
    const step = words[Control.word.step]!;
    if (step >= words[Control.word.maxSteps]!) return this.#over(OUTCOME_STEPS);
    words[Control.word.step] = step + 1;
    let pick = step < words[Control.word.forced]! ? this.#picks[step]! : DEFAULT;
    if (pick === DEFAULT) {
      if (words[Control.word.random] !== 0 && (options & (options - 1)) !== 0) pick = this.#draw(options, runnable);
      else pick = lowest(runnable !== 0 ? runnable : options);
    } else if (((ready | (timed << TIMEOUT)) & (1 << pick)) === 0) {
      return this.#over(OUTCOME_DIVERGED);
    }
    this.#picks[step] = pick;
    this.#accesses[step] = 0;
    this.#options[step] = options;
    if ((options & (options - 1)) !== 0) {
      this.#history.state(this.#states, step, runnable);
      this.#states[step * STATE_WORDS + 2] = budget;
    }
    if (ready !== 0 && (runnable !== 0 ? 1 << pick !== runnable : pick >= TIMEOUT)) {
      words[Control.word.preemptions] = budget - 1;
    }
    if (pick >= TIMEOUT) this.#waiting.fire(pick - TIMEOUT);
    words[Control.word.current] = pick & (TIMEOUT - 1);
    return pick & (TIMEOUT - 1);
  }

  #over(outcome: number): number {
    this.#words[Control.word.outcome] = outcome;
    return -1;
  }

  /**
   * A random pick: the same actor in 3 of 4 cases, else any. xorshift32, so that a seed is a
   * schedule.
   */
  #draw(options: number, runnable: number): number {
    let x = this.#words[Control.word.random]!;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#words[Control.word.random] = x;
    if (runnable !== 0 && (x & 3) !== 0) return lowest(runnable);
    let mask = options;
    for (let skip = (x >>> 8) % bits(options); skip > 0; skip--) mask &= mask - 1;
    return lowest(mask);
  }
}

function bits(mask: number): number {
  let count = 0;
  for (let rest = mask; rest !== 0; rest &= rest - 1) count++;
  return count;
}
