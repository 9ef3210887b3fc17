/**
 * The executions of one exploration: restores the memory, runs a schedule in the actors' threads
 * and says how it ended.
 */
import { Baton } from './baton.ts';
import {
  type ActorAssignment,
  BLOCKED_BUFFER,
  BLOCKED_WORD,
  blockedLine,
  Control,
  type ControlBuffers,
  goWord,
  HISTORY_WORDS,
  MAIN,
  MAX_ACTORS,
  OUTCOME_DEADLOCK,
  OUTCOME_DIVERGED,
  OUTCOME_DONE,
  OUTCOME_STEPS,
  OUTCOME_THREW,
  SPIN_BUFFER,
  SPIN_WORD,
  STATE_WORDS,
  TEXT_BYTES,
  TIMEOUTS_ANY,
  TIMEOUTS_IDLE,
  TIMEOUTS_NEVER,
} from './control.ts';
import { type Memory, type Scenario, scenarioPath } from './scenario.ts';
import type { Trace } from './schedule.ts';

export interface Schedule {
  /** Leading decisions. */
  readonly picks: readonly number[];
  /** Preemptions left for the choices after them. */
  readonly preemptions: number;
  /** xorshift32 state of a random schedule, 0 for the default picks. */
  readonly random: number;
  readonly logging?: boolean;
}

export interface Ended {
  readonly kind: 'deadlock' | 'steps' | 'threw' | 'check';
  readonly message: string;
}

const HANG_MS = 20_000;
const POLICY = { never: TIMEOUTS_NEVER, idle: TIMEOUTS_IDLE, any: TIMEOUTS_ANY };

export class Execution {
  readonly #scenario: Scenario;
  readonly #actors: readonly string[];
  readonly #memory: Memory;
  readonly #initial: readonly (readonly [Uint8Array, Uint8Array])[];
  readonly #buffers: ControlBuffers;
  readonly #words: Int32Array;
  readonly #trace: Omit<Trace, 'length'>;
  readonly #baton: Baton;
  readonly #maxSteps: number;
  #executions = 0;
  #failure: Ended | undefined;

  constructor(scenario: Scenario, maxSteps: number) {
    this.#scenario = scenario;
    this.#actors = Object.keys(scenario.actors);
    this.#maxSteps = maxSteps;
    this.#memory = this.#scenario.memory();
    const buffers = Object.values(this.#memory);
    this.#initial = buffers.map((buffer) => [new Uint8Array(buffer), new Uint8Array(buffer).slice()]);
    // the last for effects outside
    const lengths = [...buffers.map((buffer) => Math.ceil(buffer.byteLength / 4)), 1];
    this.#buffers = {
      control: new SharedArrayBuffer(Control.size),
      picks: new SharedArrayBuffer(maxSteps),
      options: new SharedArrayBuffer(4 * maxSteps),
      states: new SharedArrayBuffer(4 * STATE_WORDS * maxSteps),
      accesses: new SharedArrayBuffer(4 * maxSteps),
      text: new SharedArrayBuffer(TEXT_BYTES),
      access: lengths.map((length) => new SharedArrayBuffer(2 * length)),
      history: lengths.map((length) => new SharedArrayBuffer(4 * HISTORY_WORDS * length)),
    };
    this.#words = new Int32Array(this.#buffers.control);
    this.#trace = {
      picks: new Int8Array(this.#buffers.picks),
      options: new Int32Array(this.#buffers.options),
      states: new Int32Array(this.#buffers.states),
      accesses: new Int32Array(this.#buffers.accesses),
    };
    this.#baton = new Baton(MAIN, this.#buffers);
  }

  assignments(code: string): ActorAssignment[] {
    const { name } = this.#scenario;
    const common = { code, codeName: scenarioPath(this.#scenario), scenario: name, memory: this.#memory };
    return this.#actors.map((actor, index) => ({ ...common, actor, index, buffers: this.#buffers }));
  }

  /**
   * Runs one schedule; true if it failed. Throws when an actor does not come back, or does not
   * follow the schedule.
   */
  run(schedule: Schedule): boolean {
    this.#reset(schedule);
    if (!this.#baton.run(HANG_MS)) {
      const current = this.#actors[this.#words[Control.word.current]!];
      throw new Error(`${this.#scenario.name}: ${current} made no step for ${HANG_MS} ms: a loop without Atomics?`);
    }
    const outcome = this.#words[Control.word.outcome]!;
    const waiting = outcome === OUTCOME_DEADLOCK ? this.#waiting() : '';
    this.#unwind();
    this.#failure = this.#judge(outcome, waiting);
    return this.#failure !== undefined;
  }

  failure(): Ended | undefined {
    return this.#failure;
  }

  /** The steps of the last execution; valid until the next. */
  trace(): Trace {
    return { ...this.#trace, length: this.#words[Control.word.step]! };
  }

  /**
   * Whether the last execution found a word on which actors conflict that none had found before.
   */
  learned(): boolean {
    return this.#words[Control.word.learned] === 1;
  }

  preemptionsLeft(): number {
    return this.#words[Control.word.preemptions]!;
  }

  /** The log of the last execution, if it had one. */
  log(): string {
    return this.#text();
  }

  /** Sends the actors back to their event loops. */
  leave(): void {
    this.#words[Control.word.leaving] = 1;
    for (const index of this.#actors.keys()) this.#baton.pass(index);
  }

  #reset({ picks, preemptions, random, logging }: Schedule): void {
    for (const [bytes, initial] of this.#initial) bytes.set(initial);
    const words = this.#words;
    words.fill(0, 0, Control.offset.blocked / 4);
    for (let actor = 0; actor < MAX_ACTORS; actor++) words[blockedLine(actor) + BLOCKED_BUFFER] = -1;
    const all = (1 << this.#actors.length) - 1;
    words[Control.word.execution] = ++this.#executions;
    words[Control.word.ready] = all;
    words[Control.word.unfinished] = all;
    for (const daemon of this.#scenario.daemons ?? [])
      words[Control.word.daemons]! |= 1 << this.#actors.indexOf(daemon);
    words[Control.word.preemptions] = Math.min(preemptions, 0x7fffffff);
    words[Control.word.maxSteps] = this.#maxSteps;
    words[Control.word.timeouts] = POLICY[this.#scenario.timeouts ?? 'never'];
    words[Control.word.random] = random;
    words[Control.word.logging] = logging ? 1 : 0;
    words[Control.word.forced] = picks.length;
    this.#trace.picks.set(picks);
  }

  /** Unwinds the actors that are in the middle of their bodies, one after the other. */
  #unwind(): void {
    const words = this.#words;
    words[Control.word.aborting] = 1;
    for (const index of this.#actors.keys()) {
      if ((words[Control.word.unfinished]! & (1 << index)) === 0) continue;
      this.#baton.pass(index);
      if (!this.#baton.sleep(HANG_MS))
        throw new Error(`${this.#scenario.name}: ${this.#actors[index]} does not unwind`);
    }
    words[goWord(MAIN)] = 0;
  }

  #judge(outcome: number, waiting: string): Ended | undefined {
    switch (outcome) {
      case OUTCOME_DONE:
        return this.#check();
      case OUTCOME_DEADLOCK:
        return { kind: 'deadlock', message: `deadlock: ${waiting}` };
      case OUTCOME_STEPS:
        return { kind: 'steps', message: `no end after ${this.#maxSteps} steps` };
      case OUTCOME_THREW:
        return { kind: 'threw', message: this.#thrown() };
      default:
        throw new Error(
          outcome === OUTCOME_DIVERGED
            ? `${this.#scenario.name}: step ${this.#words[Control.word.step]} cannot be taken: not this scenario's schedule, or not deterministic`
            : `${this.#scenario.name}: outcome ${outcome}`,
        );
    }
  }

  #check(): Ended | undefined {
    try {
      this.#scenario.check?.(this.#memory);
      return undefined;
    } catch (error) {
      return { kind: 'check', message: String(error instanceof Error ? error.message.split('\n')[0] : error) };
    }
  }

  #waiting(): string {
    const names = Object.keys(this.#memory);
    const waits: string[] = [];
    for (const [index, actor] of this.#actors.entries()) {
      const line = blockedLine(index);
      const spins = (this.#words[Control.word.spinning]! & (1 << index)) !== 0;
      const buffer = this.#words[line + (spins ? SPIN_BUFFER : BLOCKED_BUFFER)]!;
      if (buffer < 0) continue;
      const word = this.#words[line + (spins ? SPIN_WORD : BLOCKED_WORD)]!;
      const name = this.#scenario.names?.(names[buffer]!, word) ?? word;
      waits.push(`${actor} ${spins ? 'spins' : 'waits'} on ${names[buffer]}.${name}`);
    }
    return waits.join(', ');
  }

  #text(): string {
    const length = this.#words[Control.word.textLength]!;
    return new TextDecoder().decode(new Uint8Array(this.#buffers.text).slice(0, length));
  }

  /**
   * The message of the actor that threw: the last it wrote, without the log's lines and the stack.
   */
  #thrown(): string {
    const lines = this.#text().split('\n');
    return lines.find((line) => line !== '' && !/^\d+\t/.test(line)) ?? 'threw';
  }
}
