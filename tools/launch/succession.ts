/**
 * The process of a VMM that was started, and those that run on in its place: each tells its owner
 * through the lifeline who it is (platform/lifeline.ts).
 */
import { createInterface } from 'node:readline';
import type { Duplex } from 'node:stream';

import type { ToOwner } from '../../platform/lifeline.ts';

/** The signals that are to end a process, and the one that runs on in its place, too. */
const ENDING: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGKILL'];

/** How a process ended. */
export interface Ending {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Why it could not be started at all. */
  readonly error?: Error;
}

export class Succession {
  readonly #first: number;
  readonly #killFirst: (signal: NodeJS.Signals) => void;
  /** The process that runs in place of the one that was started, and how it ended. */
  #pid: number;
  #status: number | undefined;
  #ended: Promise<unknown> = Promise.resolve();
  /** The last signal that was to end the process. */
  #asked: NodeJS.Signals | undefined;

  constructor(first: number, killFirst: (signal: NodeJS.Signals) => void = (signal) => kill(first, signal)) {
    this.#first = first;
    this.#pid = first;
    this.#killFirst = killFirst;
  }

  /** Our end of the lifeline. */
  hear(lifeline: Duplex): void {
    lifeline.on('error', () => {});
    this.#ended = new Promise((resolve) => lifeline.once('close', resolve));
    createInterface({ input: lifeline }).on('line', (line) => {
      const { pid, status } = JSON.parse(line) as ToOwner;
      this.#status = status ?? this.#status;
      if (pid === undefined || pid === this.#pid) return;
      this.#pid = pid;
      if (this.#asked) kill(pid, this.#asked); // it missed that
    });
  }

  /** The process that runs now; 0 when none could be started. */
  get pid(): number {
    return this.#pid;
  }

  /** Resolves when nobody holds the far end of the lifeline any more. */
  get ended(): Promise<unknown> {
    return this.#ended;
  }

  /** Signals the process that runs now, alone. */
  kill(signal: NodeJS.Signals): void {
    if (ENDING.includes(signal)) this.#asked = signal;
    if (this.#pid === this.#first) this.#killFirst(signal);
    else kill(this.#pid, signal);
  }

  /**
   * How the last process ended that ran, where the first one ended so. One that was not ours tells
   * it itself, or nobody does.
   */
  lastOf(first: Ending): Ending {
    if (this.#pid === this.#first) return first;
    return { status: this.#status ?? null, signal: this.#status === undefined ? 'SIGKILL' : null };
  }
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error; // it has just ended
  }
}
