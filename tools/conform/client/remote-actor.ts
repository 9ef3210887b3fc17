/** The far end of an ActorLink: a thread, or the main thread of a forked process. */
import { errnoName, SysError } from '../../../platform/errno.ts';
import { State } from '../steps/state.ts';
import { prepareExec } from './exec.ts';
import { holdingsOf } from './holdings.ts';
import { Interpreter } from './interpreter.ts';
import { take } from './pass.ts';
import type { ActorReply, ActorRequest, ExecArguments, ThreadData } from './protocol.ts';

export class RemoteActor {
  readonly #data: ThreadData;
  readonly #interpreter: Interpreter;
  /** The state of a forked process; undefined in a thread. */
  readonly #state: State | undefined;

  constructor(data: ThreadData, state?: State) {
    this.#data = data;
    this.#interpreter = new Interpreter({ ...data, note: () => {} });
    this.#state = state;
  }

  get interpreter(): Interpreter {
    return this.#interpreter;
  }

  async carryOut(request: ActorRequest): Promise<ActorReply> {
    try {
      return await this.#carryOut(request);
    } catch (error) {
      return { answer: '', changes: [], failure: (error as Error).message };
    }
  }

  async #carryOut(request: ActorRequest): Promise<ActorReply> {
    if ('exec' in request) return this.#exec(request.exec);
    if ('tell' in request) return { answer: '0', changes: [], holdings: holdingsOf(this.#processState) };
    if ('take' in request) return { answer: await take(request.take, this.#processState), changes: [] };
    if (request.step.op === 'exec' && this.#state) return this.#exec(prepareExec({ fork: this.#data }, this.#state));
    const state = this.#state ?? new State(request.state);
    const answer = await this.#interpreter.perform(request.step, state);
    return { answer, changes: state.takeChanges() };
  }

  /** A thread is asked for nothing that its process has. */
  get #processState(): State {
    if (!this.#state) throw new RangeError('a thread forks and receives nothing');
    return this.#state;
  }

  #exec({ path, argv }: ExecArguments): ActorReply {
    try {
      this.#interpreter.kernel.execve(path, argv, process.env);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      return { answer: `-${errnoName(error.errno)}`, changes: [] };
    }
  }
}
