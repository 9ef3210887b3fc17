/** One client process as the runner sees it: started ahead of time, given a case, gone when the case is over. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

import type { Assignment, Report } from './client/protocol.ts';

/** The longest without any report: a step that is waited for takes less. */
const SILENCE_MS = 45_000;

export interface Played {
  /** By step; shorter than the case when the client could not go on. */
  readonly answers: readonly string[];
  readonly notes: readonly string[];
  readonly failure?: string;
}

export class ClientProcess {
  readonly #child: ChildProcess;
  readonly #exited: Promise<string>;
  #lastWords = '';
  #closed = false;

  constructor(program: string) {
    // In a session and a process group of its own, so that Ctrl-C reaches us alone and we end it with all it has started.
    this.#child = spawn(process.execPath, [program], { stdio: 'pipe', detached: true });
    this.#child.stdin!.on('error', () => {}); // it is dead; #exited says so
    createInterface({ input: this.#child.stderr! }).on('line', (line) => {
      if (this.#lastWords === '' || /Error/.test(line)) this.#lastWords = line;
    });
    this.#exited = new Promise((resolve) => {
      this.#child.once('error', (error) => resolve(error.message));
      this.#child.once('exit', () => this.#killAll()); // what it leaves is of no use
      this.#child.once('close', (code, signal) => {
        this.#closed = true;
        resolve(`ended with ${signal ?? `status ${code}`}`);
      });
    });
  }

  /** Plays a case; resolves when the process is gone, with all it had open. */
  async play(assignment: Assignment): Promise<Played> {
    const answers: string[] = [];
    const notes: string[] = [];
    let failure: string | undefined = 'ended in the middle of a step';
    const kill = (): void => {
      failure = `no answer within ${SILENCE_MS / 1000} s`;
      this.#killAll();
    };
    let timer = setTimeout(kill, SILENCE_MS);
    createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      clearTimeout(timer);
      timer = setTimeout(kill, SILENCE_MS);
      const report = JSON.parse(line) as Report;
      if ('answer' in report) answers[report.step] = report.answer;
      else if ('note' in report) notes.push(report.note);
      else failure = 'failure' in report ? report.failure : undefined;
    });
    this.#child.stdin!.end(`${JSON.stringify(assignment)}\n`);
    const ending = await this.#exited;
    clearTimeout(timer);
    if (failure === undefined) return { answers, notes };
    return { answers, notes, failure: [failure, this.#lastWords || ending].join('; ') };
  }

  /** For one that is not needed any more. */
  async stop(): Promise<void> {
    this.#killAll();
    await this.#exited;
  }

  /** With the processes it has forked, one of which may be asleep and hold our pipes open. The group lasts until the last of them ends. */
  #killAll(): void {
    if (this.#child.pid === undefined || this.#closed) return;
    try {
      process.kill(-this.#child.pid, 'SIGKILL');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error; // it has just ended
    }
  }
}
