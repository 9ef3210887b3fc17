/** The far end of an ActorLink: a thread, or the main thread of a forked process. */
import { errnoName, SysError } from '../../../platform/errno.ts';
import { Interpreter } from './interpreter.ts';
import type { ActorReply, ActorRequest, ThreadData } from './protocol.ts';
import { State } from './state.ts';

export class RemoteActor {
  readonly #interpreter: Interpreter;
  /** Of a process of its own. */
  readonly #state: State | undefined;

  constructor({ socketPath, devices }: ThreadData, state?: State) {
    this.#interpreter = new Interpreter({ socketPath, devices, note: () => {} });
    this.#state = state;
  }

  carryOut(request: ActorRequest): ActorReply {
    if ('exec' in request) {
      const { path, argv } = request.exec;
      try {
        this.#interpreter.kernel.execve(path, argv, process.env);
      } catch (error) {
        if (!(error instanceof SysError)) throw error;
        return { answer: `-${errnoName(error.errno)}`, changes: [] };
      }
    }
    const state = this.#state ?? new State(request.state);
    const answer = this.#interpreter.perform(request.step, state);
    return { answer, changes: state.takeChanges() };
  }
}
