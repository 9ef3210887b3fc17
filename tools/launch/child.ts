/**
 * A program as a child process: its pipes, its last words on stderr, how it ended, and two ways to
 * end it.
 */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import type { Duplex, Readable, Writable } from 'node:stream';

import { close } from '../../platform/libc/fd.ts';
import { socketPair } from '../../platform/libc/unix-socket.ts';
import { CommandError } from '../cli/command.ts';
import { exitStatus } from '../cli/signals.ts';
import { type Ending, Succession } from './succession.ts';

export type { Ending };

/**
 * How long a child has between SIGTERM and SIGKILL. A host that must end its kernel and its devices
 * by force takes 7 s.
 */
const GRACE_MS = 10_000;
/** How many characters from the end of stderr are kept. */
const WORDS_KEPT = 1 << 16;

export interface Launch {
  /** The name in messages. */
  readonly name: string;
  /** The program and its arguments. */
  readonly argv: readonly string[];
  /** Its fds; by default 0, 1 and 2 are pipes to us. */
  readonly stdio?: readonly ('pipe' | 'inherit' | 'ignore' | number)[];
  /**
   * Whether the child ends with us, whatever ends us. It gets one more fd for this, and `--lifeline
   * FD` (platform/lifeline.ts).
   */
  readonly lifeline?: boolean;
  /**
   * Whether the child leads a session and a process group. Then Ctrl-C reaches us alone, and we end
   * the child in good order. True by default.
   */
  readonly detached?: boolean;
  /** Its environment; ours by default. */
  readonly env?: NodeJS.ProcessEnv;
}

/** A child has closed its output. The way it ended itself tells more. */
export class OutputEnded extends CommandError {}

/** The ending in words: `status 1`, `SIGKILL`. */
export const describeEnding = ({ status, signal, error }: Ending): string =>
  error?.message ?? signal ?? `status ${status}`;

export class Child {
  readonly name: string;
  /** Resolves when the process has ended. */
  readonly exited: Promise<Ending>;
  /**
   * Resolves when the process has ended and no process that it started holds our pipes any more.
   */
  readonly closed: Promise<Ending>;
  /** The end of what it said on stderr. */
  errors = '';
  readonly #process: ChildProcess;
  #isClosed = false;
  readonly #input: Socket | undefined;
  readonly #succession: Succession;

  constructor({ name, argv, stdio = ['pipe', 'pipe', 'pipe'], lifeline = false, detached = true, env }: Launch) {
    this.name = name;
    const [program, ...words] = lifeline ? [...argv, '--lifeline', String(stdio.length)] : argv;
    const fds = lifeline ? [...stdio, 'pipe' as const] : [...stdio];
    // Node closes the stdin of a child that has ended, though another process may run on in its
    // place
    const input = lifeline && fds[0] === 'pipe' ? socketPair() : undefined;
    if (input) fds[0] = input[1];
    const options: SpawnOptions = { stdio: fds, detached, ...(env ? { env } : {}) };
    const child = spawn(program!, words, options);
    if (input) {
      close(input[1]);
      this.#input = new Socket({ fd: input[0], readable: true, writable: true });
      this.#input.on('error', () => {}).resume();
    }
    this.#process = child;
    const succession = new Succession(child.pid ?? 0, (signal) => void child.kill(signal));
    this.#succession = succession;
    child.stdin?.on('error', () => {}); // it has ended first: `exited` says so
    const ours = lifeline ? child.stdio?.[stdio.length] : undefined; // none if it could not be started
    if (ours) succession.hear(ours as Duplex);
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.errors = (this.errors + text).slice(-WORDS_KEPT);
    });
    const failed = new Promise<Ending>((resolve) => {
      child.once('error', (error) => resolve({ status: null, signal: null, error }));
    });
    const ending = (event: 'exit' | 'close'): Promise<Ending> =>
      new Promise((resolve) => {
        child.once(event, (status, signal) => resolve({ status, signal }));
      });
    const exit = ending('exit').then(async (ending) => {
      await succession.ended; // another process may run on in its place
      return succession.lastOf(ending);
    });
    this.exited = Promise.race([exit, failed]);
    this.closed = Promise.race([ending('close').then((ending) => succession.lastOf(ending)), failed]);
    void this.closed.then(() => {
      this.#isClosed = true;
      this.#input?.destroy();
    });
  }

  /** The process that runs now; 0 when none could be started. */
  get pid(): number {
    return this.#succession.pid;
  }

  /** A pipe to it, if it has one. */
  get stdin(): Writable {
    return this.#input ?? this.#process.stdin!;
  }

  /** A pipe from it, if it has one. */
  get stdout(): Readable {
    return this.#process.stdout!;
  }

  /** Calls `hear` for each line that it says on stdout, or on stderr, from now on. */
  onLine(stream: 'stdout' | 'stderr', hear: (line: string) => void): void {
    const input = this.#process[stream]; // none if no fd was left for it
    if (input) createInterface({ input }).on('line', hear);
  }

  /**
   * The JSON document on the first line of stdout. Rejects with a CommandError when the child ends
   * before.
   */
  firstDocument(): Promise<unknown> {
    const document = new Promise((resolve, reject) => {
      this.onLine('stdout', (line) => {
        try {
          resolve(JSON.parse(line));
        } catch (error) {
          reject(error);
        }
      });
    });
    return this.whileAlive(document);
  }

  /** Rejects when the child ends. For a race against a wait for something that the child does. */
  async ended(): Promise<never> {
    const { status, signal, error } = await this.closed;
    if (error) throw error;
    const lastWords = this.errors.trimEnd().split('\n').at(-1);
    throw new CommandError(
      `${this.name} ended with status ${exitStatus(status, signal)}${lastWords ? `: ${lastWords}` : ''}`,
    );
  }

  /** The result of `promise`, or a rejection as soon as the child ends. */
  whileAlive<T>(promise: Promise<T>): Promise<T> {
    const orReason = promise.catch((error) => {
      if (error instanceof OutputEnded) return this.ended(); // it closes its output by ending
      throw error;
    });
    return Promise.race([orReason, this.ended()]);
  }

  /** Signals the process alone. */
  kill(signal: NodeJS.Signals): void {
    this.#succession.kill(signal);
  }

  /**
   * Signals the process and all processes it has started. The process group, and its number, last
   * until the last of them has ended.
   */
  killGroup(signal: NodeJS.Signals): void {
    const leader = this.#process.pid;
    if (leader === undefined || this.#isClosed) return;
    try {
      process.kill(-leader, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error; // it has just ended
    }
  }

  /**
   * Asks the child to end and waits. Returns how it ended, or undefined when it had to be killed
   * after `graceMs`.
   */
  async stop(graceMs = GRACE_MS): Promise<Ending | undefined> {
    let killed = false;
    const timer = setTimeout(() => {
      killed = true;
      this.kill('SIGKILL');
    }, graceMs);
    this.kill('SIGTERM');
    const ending = await this.closed;
    clearTimeout(timer);
    return killed ? undefined : ending;
  }
}
