/** A native client under a supervisor, from its start to its end. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync } from 'node:fs';

import { programArgv } from '../../launch/programs.ts';
import { type NativeThread, NativeThreads } from './channel.ts';

/** A client that has become another user must still reach us from its next image. */
const ANYBODY_MAY_CONNECT = 0o666;
/** Of a supervisor whose program is gone. */
const END_MS = 5000;

export interface NativeProgram {
  /** The client's path, absolute. */
  readonly client: string;
  /** Where the host listens. */
  readonly host: string;
  /** Where it shall connect to us. */
  readonly socketPath: string;
  /** Further options of `livevmm with`. */
  readonly options: readonly string[];
}

export class NativeClient {
  readonly threads: NativeThreads;
  readonly #supervisor: ChildProcess;
  readonly #ended: Promise<unknown>;

  constructor({ client, host, socketPath, options }: NativeProgram) {
    this.threads = NativeThreads.listen(socketPath);
    if (process.getuid!() === 0) chmodSync(socketPath, ANYBODY_MAY_CONNECT);
    const [node, ...words] = programArgv(
      ...(['livevmm', 'with', '--host', host] as const),
      ...[...options, '--', client, socketPath, String(this.threads.newToken())],
    );
    this.#supervisor = spawn(node!, words, { stdio: ['ignore', 'ignore', 'inherit'] });
    this.#ended = once(this.#supervisor, 'exit');
    this.#ended.catch(() => {}); // whoever waits for it hears of it
  }

  /** The client's first thread, when it has begun. */
  first(): Promise<NativeThread> {
    return this.whileAlive(this.threads.arrival(0));
  }

  /** Rejects when the client has ended. */
  whileAlive<T>(work: Promise<T>): Promise<T> {
    const ended = this.#ended.then(() => Promise.reject(new Error('the native client has ended')));
    return Promise.race([work, ended]);
  }

  /**
   * Kills the processes of `pids`, which may sleep in the kernel, and waits for the end of the
   * supervisor: all that the client has started is gone.
   */
  async end(pids: readonly number[]): Promise<void> {
    this.threads.close();
    for (const pid of pids) killIfThere(pid);
    const timer = setTimeout(() => this.#supervisor.kill('SIGKILL'), END_MS);
    await this.#ended;
    clearTimeout(timer);
  }
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error; // it has ended by itself
  }
}
