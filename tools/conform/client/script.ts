/**
 * Plays a case in the main thread of its process. The main thread carries out its own steps and
 * passes the others to their actors.
 */
import { setTimeout as delay } from 'node:timers/promises';

import { errnoName, SysError } from '../../../platform/errno.ts';
import { askHost } from '../steps/host-info.ts';
import { State } from '../steps/state.ts';
import { Words } from '../steps/words.ts';
import type { Step } from '../vector-file.ts';
import { Actor } from './actor.ts';
import { prepareExec } from './exec.ts';
import { ForkLink } from './fork.ts';
import { holdingsOf, withoutHoldings } from './holdings.ts';
import { Interpreter } from './interpreter.ts';
import { take } from './pass.ts';
import type { Assignment, ExecArguments, ForkData, Report, ThreadData } from './protocol.ts';
import { handleSignal } from './signals.ts';
import { ThreadLink } from './thread.ts';

/** The longest that a step in the foreground may take. */
const STEP_MS = 30_000;
/** The main actor, where a step names a process. */
const MAIN = 'main';

export class Script {
  readonly #assignment: Assignment;
  readonly #state: State;
  readonly #words: Words;
  readonly #report: (report: Report) => void;
  readonly #interpreter: Interpreter;
  readonly #actors = new Map<string, Actor>();
  readonly #forks = new Map<string, ForkLink>();

  constructor(assignment: Assignment, state: State, report: (report: Report) => void) {
    this.#assignment = assignment;
    this.#state = state;
    this.#words = new Words(state);
    this.#report = report;
    this.#interpreter = new Interpreter({ ...this.#threadData, note: (note) => report({ note }) });
  }

  get #threadData(): ThreadData {
    const { steps: _, ...data } = this.#assignment;
    return data;
  }

  get interpreter(): Interpreter {
    return this.#interpreter;
  }

  /** Plays the steps from number `first` on and reports their answers. */
  async play(first: number): Promise<void> {
    const { steps } = this.#assignment;
    for (let step = first; step < steps.length; step++) {
      this.#report({ step, answer: await this.#answer(steps[step]!, step) });
    }
  }

  async #answer(step: Step, number: number): Promise<string> {
    if (step.actor !== null) return this.#byActor(step, number);
    const [name = '', value = '0'] = step.args;
    switch (step.op) {
      case 'sleep':
        await delay(this.#words.count(name));
        return '0';
      case 'thread':
        this.#actors.set(name, new Actor(await ThreadLink.start(name, this.#threadData), this.#ofThreads));
        return '0';
      case 'fork':
        return this.#start(name, { parentPid: process.pid, fresh: false, holdings: holdingsOf(this.#state) });
      case 'process':
        return this.#start(name, { parentPid: process.pid, fresh: true, holdings: withoutHoldings(this.#state) });
      case 'pass':
        return this.#pass(step, process.pid, this.#state);
      case 'wait':
        return this.#actor(name).answer(this.#words.count(value), this.#sleeps);
      case 'kill':
        return this.#kill(name, this.#words.count(value));
      case 'exec':
        return this.#exec(number);
    }
    return this.#interpreter.perform(step, this.#state);
  }

  async #byActor(step: Step, number: number): Promise<string> {
    const actor = this.#actor(step.actor!);
    const fork = this.#forks.get(step.actor!);
    if (fork && (step.op === 'fork' || step.op === 'pass')) {
      const holdings = await actor.holdings();
      if (step.op === 'pass') return this.#pass(step, fork.tid, new State(holdings.state));
      return this.#start(step.args[0]!, { parentPid: fork.tid, fresh: false, holdings });
    }
    if (fork) await actor.start({ step });
    else if (step.op === 'exec') await actor.start({ exec: this.#prepareExec(number) });
    else await actor.start({ step, state: this.#state.save() });
    return step.inBackground ? 'started' : actor.answer(STEP_MS, this.#sleeps);
  }

  /** Starts a process that carries out steps by the name `name`. */
  async #start(name: string, data: Omit<ForkData, keyof ThreadData>): Promise<string> {
    const fork = await ForkLink.start({ ...this.#threadData, ...data });
    this.#forks.set(name, fork);
    this.#actors.set(name, new Actor(fork, undefined));
    return '0';
  }

  /** `pass FD ACTOR NAME`, by process `pid` with `state`. ACTOR is a process, or `main`. */
  async #pass({ args }: Step, pid: number, state: State): Promise<string> {
    const [fd, receiver, name] = args as [string, string, string];
    const passed = { pid, fd: state.fd(fd), name };
    if (receiver === MAIN) return take(passed, this.#state);
    const actor = this.#actor(receiver);
    await actor.start({ take: passed });
    return actor.answer(STEP_MS, this.#sleeps);
  }

  /**
   * Applies what threads change to the state of this process. The main thread installs their signal
   * handlers.
   */
  readonly #ofThreads: Pick<State, 'apply'> = {
    apply: (change) => {
      this.#state.apply(change);
      if ('signal' in change) handleSignal(change.signal);
    },
  };

  readonly #sleeps = (tid: number): boolean =>
    askHost(this.#interpreter.kernel).clients.some(({ inKernel }) => inKernel.includes(tid));

  #actor(name: string): Actor {
    const actor = this.#actors.get(name);
    if (!actor) throw new RangeError(`no actor ${name}`);
    return actor;
  }

  /** Sends a signal to a forked process. A thread has this process' pid and shares its fate. */
  async #kill(name: string, signal: number): Promise<string> {
    const fork = this.#forks.get(name);
    if (!fork) {
      this.#actor(name);
      process.kill(process.pid, signal);
      return '0';
    }
    const ending = await fork.kill(signal);
    if (ending === undefined) return '0 alive';
    this.#actor(name).ended();
    return `0 ${ending}`;
  }

  #prepareExec(step: number): ExecArguments {
    return prepareExec({ assignment: this.#assignment, step }, this.#state);
  }

  #exec(step: number): string {
    const { path, argv } = this.#prepareExec(step);
    try {
      this.#interpreter.kernel.execve(path, argv, process.env);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      return `-${errnoName(error.errno)}`;
    }
  }

  /** Ends the forked processes. */
  async end(): Promise<void> {
    await Promise.all([...this.#forks.values()].map((fork) => fork.kill(9)));
  }
}
