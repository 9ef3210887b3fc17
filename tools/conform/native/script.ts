/**
 * Plays a case with a native client. Its threads and processes make the calls; which calls a step
 * stands for is decided here, so this side has the state of each process.
 */
import { errnoName, SysError } from '../../../platform/errno.ts';
import { Actor, type ActorLink } from '../client/actor.ts';
import type { ActorReply, ActorRequest, Assignment, Report } from '../client/protocol.ts';
import { isDeadly } from '../client/signals.ts';
import type { StepTable } from '../steps/call-context.ts';
import { askHost } from '../steps/host-info.ts';
import type { HostControl, ProcessContext } from '../steps/process-calls.ts';
import { PROCESS_STEPS } from '../steps/process-steps.ts';
import { State } from '../steps/state.ts';
import { CALL_STEPS } from '../steps/table.ts';
import { Words } from '../steps/words.ts';
import type { Step } from '../vector-file.ts';
import { NativeCalls } from './calls.ts';
import type { NativeThread, NativeThreads } from './channel.ts';

const STEPS: StepTable<ProcessContext> = { ...CALL_STEPS, ...PROCESS_STEPS };
/** The longest that a step of another actor may take in the foreground. */
const STEP_MS = 30_000;
/** The main actor, where a step names a process. */
const MAIN = 'main';

/** What its threads have in common. */
interface NativeProcess {
  readonly state: State;
  /** How it ended; undefined while it lives. */
  ending: string | undefined;
}

/** A thread of the client that carries out steps. After an exec another thread stands for it. */
class NativeActor implements ActorLink {
  readonly process: NativeProcess;
  readonly #perform: (step: Step, actor: NativeActor) => Promise<string>;
  thread: NativeThread;
  calls: NativeCalls;
  onReply: (reply: ActorReply) => void = () => {};

  constructor(
    thread: NativeThread,
    process: NativeProcess,
    perform: (step: Step, actor: NativeActor) => Promise<string>,
  ) {
    this.thread = thread;
    this.process = process;
    this.#perform = perform;
    this.calls = new NativeCalls(thread, process.state);
  }

  get tid(): number {
    return this.thread.tid;
  }

  becomes(thread: NativeThread): void {
    this.thread = thread;
    this.calls = new NativeCalls(thread, this.process.state);
  }

  send(request: ActorRequest): void {
    if (!('step' in request)) throw new RangeError('a native actor carries out steps');
    this.#perform(request.step, this).then(
      (answer) => this.onReply({ answer, changes: [] }),
      (error: Error) => this.onReply({ answer: '', changes: [], failure: error.message }),
    );
  }
}

export interface NativeScriptParts {
  readonly assignment: Assignment;
  readonly threads: NativeThreads;
  readonly first: NativeThread;
  readonly host: HostControl;
  readonly report: (report: Report) => void;
}

export class NativeScript {
  readonly #assignment: Assignment;
  readonly #threads: NativeThreads;
  readonly #host: HostControl;
  readonly #report: (report: Report) => void;
  readonly #main: NativeActor;
  readonly #others = new Map<string, { readonly native: NativeActor; readonly actor: Actor }>();

  constructor({ assignment, threads, first, host, report }: NativeScriptParts) {
    this.#assignment = assignment;
    this.#threads = threads;
    this.#host = host;
    this.#report = report;
    this.#main = new NativeActor(first, { state: new State(), ending: undefined }, this.#perform);
  }

  /** Plays the steps and reports their answers. */
  async play(): Promise<void> {
    for (const [number, step] of this.#assignment.steps.entries()) {
      this.#report({ step: number, answer: await this.#answer(step) });
    }
  }

  async #answer(step: Step): Promise<string> {
    const [name = '', value = '0'] = step.args;
    const count = (word: string): number => new Words(this.#main.process.state).count(word);
    switch (step.actor === null ? step.op : '') {
      case 'wait':
        return this.#other(name).actor.answer(count(value), this.#sleeps);
      case 'kill':
        return this.#kill(this.#other(name).native, count(value));
    }
    if (step.actor === null) return this.#perform(step, this.#main);
    const { actor } = this.#other(step.actor);
    await actor.start({ step });
    return step.inBackground ? 'started' : actor.answer(STEP_MS, this.#sleeps);
  }

  readonly #perform = async (step: Step, by: NativeActor): Promise<string> => {
    const [name = ''] = step.args;
    switch (step.op) {
      case 'thread':
        await this.#begins(name, by.process, (token) => by.thread.call('thread', [token]));
        return '0';
      case 'fork':
      case 'process':
        return this.#start(name, by, step.op === 'process');
      case 'pass':
        return this.#pass(step, by);
      case 'exec':
        return this.#exec(by);
    }
    const perform = Object.hasOwn(STEPS, step.op) ? STEPS[step.op]! : undefined;
    if (!perform) throw new RangeError(`${step.op} is for the main actor`);
    const { calls } = by;
    const { state } = by.process;
    const note = (text: string): void => this.#report({ note: text });
    const { devices } = this.#assignment;
    return perform({ step, state, words: new Words(state), calls, devices, host: this.#host, note });
  };

  /** A thread or a process that begins by `start`, as the actor `name`. */
  async #begins(name: string, process: NativeProcess, start: (token: number) => Promise<unknown>): Promise<void> {
    const token = this.#threads.newToken();
    await start(token);
    const native = new NativeActor(await this.#threads.arrival(token), process, this.#perform);
    this.#others.set(name, { native, actor: new Actor(native, undefined) });
  }

  async #start(name: string, by: NativeActor, fresh: boolean): Promise<string> {
    const state = new State(fresh ? undefined : by.process.state.save());
    const sibling = by.process !== this.#main.process;
    await this.#begins(name, { state, ending: undefined }, (token) =>
      by.thread.call('process', [token, Number(sibling), Number(fresh)]),
    );
    return '0';
  }

  /** `pass FD ACTOR NAME`. ACTOR is a process, or `main`. */
  #pass({ args }: Step, by: NativeActor): Promise<string> {
    const [fd, receiver, name] = args as [string, string, string];
    const to = receiver === MAIN ? this.#main : this.#other(receiver).native;
    return new Words(by.process.state).status(async () => {
      await by.thread.call('send', [by.process.state.fd(fd)]);
      to.process.state.change({ fd: name, number: await to.thread.call('receive') });
      return 0;
    });
  }

  /** execve(2) by this thread. The next image of its process is the process' first actor. */
  async #exec(by: NativeActor): Promise<string> {
    const { state } = by.process;
    const closed: string[] = [];
    for (const [name, fd] of state.fds()) if (await this.#closesOnExec(by, fd)) closed.push(name);
    const token = this.#threads.newToken();
    const outcome = await Promise.race([by.thread.request('exec', [token]), this.#threads.arrival(token)]);
    if (typeof outcome === 'number') return `-${errnoName(-outcome)}`;
    for (const name of closed) state.change({ fd: name, number: null });
    state.forgetImage();
    (by.process === this.#main.process ? this.#main : by).becomes(outcome);
    return '0';
  }

  async #closesOnExec(by: NativeActor, fd: number): Promise<boolean> {
    try {
      return await by.calls.getCloexec(fd);
    } catch (error) {
      if (error instanceof SysError) return true; // closed already
      throw error;
    }
  }

  /** Sends a signal. A thread has the pid of its process and shares its fate. */
  async #kill({ thread: { pid }, process: of }: NativeActor, signal: number): Promise<string> {
    if (of.ending === undefined) process.kill(pid, signal);
    if (of === this.#main.process) return '0';
    if (of.ending === undefined && !isDeadly(signal, of.state.signals)) return '0 alive';
    of.ending ??= await this.#ending(pid);
    for (const { native, actor } of this.#others.values()) if (native.process === of) actor.ended();
    return `0 ${of.ending}`;
  }

  /** Waits for a process; every one is a child of the main actor's. */
  async #ending(pid: number): Promise<string> {
    const status = await this.#main.calls.waitFor(pid);
    const signal = status & 0x7f;
    return signal === 0 ? `ended status=${status >> 8}` : `ended sig=${signal}`;
  }

  /** Its processes that live, the first one first. */
  pids(): number[] {
    const alive = [...this.#others.values()].filter(({ native }) => native.process.ending === undefined);
    return [...new Set([this.#main, ...alive.map(({ native }) => native)].map(({ thread: { pid } }) => pid))];
  }

  readonly #sleeps = (tid: number): boolean =>
    askHost(this.#host).clients.some(({ inKernel }) => inKernel.includes(tid));

  #other(name: string): { readonly native: NativeActor; readonly actor: Actor } {
    const other = this.#others.get(name);
    if (!other) throw new RangeError(`no actor ${name}`);
    return other;
  }
}
