/** A program of ours as a child process: ends with us, whatever ends us, and its last words on stderr explain why it ended. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';

import { CommandError } from '../cli/command.ts';
import { exitStatus } from '../cli/signals.ts';
import { ConsoleEnded } from './guest-console.ts';
import { programPath } from './programs.ts';

/** The child's fd by which it sees that we have ended (platform/lifeline.ts). */
const LIFELINE_FD = 3;
/** How long a child has between SIGTERM and SIGKILL. */
const GRACE_MS = 5000;

export class Child {
  readonly name: string;
  readonly pid: number;
  readonly stdin: Writable;
  readonly stdout: Readable;
  /** Resolves with its exit status, when it ends by itself or otherwise. */
  readonly exited: Promise<number>;
  readonly #process: ChildProcess;
  #lastWords = '';

  /** In a session of its own, so that Ctrl-C reaches us alone and we end our children in order. */
  constructor(name: 'livevmm' | 'vmm', args: readonly string[]) {
    this.name = name === 'vmm' ? 'the VMM' : 'the host';
    const argv = [programPath(name), ...args, '--lifeline', String(LIFELINE_FD)];
    const child = spawn(process.execPath, argv, { stdio: ['pipe', 'pipe', 'pipe', 'pipe'], detached: true });
    child.stdio[LIFELINE_FD]!.on('error', () => {}); // it has ended first
    this.#process = child;
    this.pid = child.pid ?? 0;
    this.stdin = child.stdin;
    this.stdout = child.stdout;
    createInterface({ input: child.stderr }).on('line', (line) => {
      this.#lastWords = line;
    });
    this.exited = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => resolve(exitStatus(code, signal)));
    });
    this.exited.catch(() => {}); // whoever waits is told
  }

  /** Rejects when the child ends: something to race against while waiting for what it does. */
  async ended(): Promise<never> {
    const status = await this.exited;
    throw new CommandError(`${this.name} ended with status ${status}${this.#lastWords ? `: ${this.#lastWords}` : ''}`);
  }

  /** The result of `promise`, or a rejection as soon as the child ends. */
  whileAlive<T>(promise: Promise<T>): Promise<T> {
    const orReason = promise.catch((error) => {
      if (error instanceof ConsoleEnded) return this.ended(); // it closes its output by ending
      throw error;
    });
    return Promise.race([orReason, this.ended()]);
  }

  /** Asks it to end and waits; kills it if it does not. */
  async stop(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    this.#process.kill('SIGTERM');
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), GRACE_MS);
    await this.exited.catch(() => {});
    clearTimeout(timer);
  }
}
