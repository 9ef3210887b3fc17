/** Starts the fault handler of a program (main.ts). */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { CommandError } from '../../cli/command.ts';
import { programArgv } from '../../launch/programs.ts';
import { FAULT_HANDLER_READY } from './handshake.ts';

const FAILED = 'the fault handler of --map-registers has ended';

/**
 * It is a process of its own (platform/libc/ptrace.ts), and in a session of its own: what the
 * terminal sends is for the program.
 */
export class FaultHandlerProcess {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  /** Rejects when the fault handler fails. */
  readonly failed: Promise<never>;

  constructor(socketPath: string) {
    const [node, ...argv] = programArgv('with-fault-handler', socketPath);
    this.#child = spawn(node!, argv, { stdio: ['pipe', 'pipe', 'inherit'], detached: true });
    this.#child.stdin!.on('error', () => {}); // it has ended: `failed` says so
    this.#exited = new Promise((resolve) => this.#child.once('close', resolve));
    this.failed = new Promise((_, reject) => {
      this.#child.once('error', reject);
      this.#child.once('close', (status) => status !== 0 && reject(new CommandError(FAILED)));
    });
    this.failed.catch(() => {}); // for whoever waits for it
  }

  /** -1 when it could not be started. */
  get pid(): number {
    return this.#child.pid ?? -1;
  }

  /** When it has resolved, process `pid` and all that it starts are traced. */
  async trace(pid: number): Promise<void> {
    const said = once(this.#child.stdout!, 'data') as Promise<[Buffer]>;
    said.catch(() => {}); // as above
    this.#child.stdin!.end(`${pid}\n`);
    const [line] = await Promise.race([said, this.failed]);
    if (line.toString() !== FAULT_HANDLER_READY) throw new CommandError(FAILED);
  }

  /** Kills it. Its program goes on without it, or has ended. */
  async stop(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }
}
