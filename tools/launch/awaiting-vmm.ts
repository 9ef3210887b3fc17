/**
 * A VMM that the launcher (launcher.sh) has started beside this process, and that waits for its
 * command line. It is our child, but Node does not know it.
 */
import { closeSync, writeSync } from 'node:fs';
import { createServer } from 'node:net';
import { constants } from 'node:os';

import { handleFd } from '../../platform/handle-fd.ts';
import { endedChild, waitForChild } from '../../platform/libc/other-process.ts';
import { listenAbstract, peerCredentials } from '../../platform/libc/unix-socket.ts';
import { parentOf } from '../../platform/process-status.ts';
import type { AwaitedWords } from '../../vmm/program/awaited-words.ts';
import { type Ending, Succession } from './succession.ts';

/** A timer that only keeps the event loop alive. */
const NEVER_MS = 2 ** 31 - 1;

export class AwaitingVmm {
  readonly #pid: number;
  /** The write end of a pipe to it. */
  readonly #fd: number;
  #isOver = false;

  private constructor(pid: number, fd: number) {
    this.#pid = pid;
    this.#fd = fd;
  }

  /**
   * `text`: its pid and the fd, as the launcher gives them. Undefined: a user has made it up, and
   * there is no such child.
   */
  static of(text = ''): AwaitingVmm | undefined {
    const [, pid, fd] = /^(\d+),(\d+)$/.exec(text) ?? [];
    if (pid === undefined || parentOf(Number(pid)) !== process.pid) return undefined;
    return new AwaitingVmm(Number(pid), Number(fd));
  }

  /** Gives it its command line. */
  begin(words: readonly string[]): BegunVmm {
    this.#isOver = true;
    const owner = `livevmm-${process.pid}-${Math.random().toString(36).slice(2)}`;
    const begun = new BegunVmm(this.#pid, listenAbstract(owner));
    try {
      const awaited: AwaitedWords = { words, owner };
      writeSync(this.#fd, `${JSON.stringify(awaited)}\n`);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error; // it has ended
    }
    closeSync(this.#fd);
    return begun;
  }

  /** Ends it, unless it has begun. */
  dismiss(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    process.kill(this.#pid, 'SIGKILL');
    waitForChild(this.#pid);
  }
}

export class BegunVmm {
  readonly #succession: Succession;
  /** Resolves when it has ended, and nobody runs on in its place. */
  readonly exited: Promise<Ending>;

  /** `listener`: a socket to which it connects. The connection is its lifeline. */
  constructor(pid: number, listener: number) {
    const succession = new Succession(pid);
    this.#succession = succession;
    const server = createServer((lifeline) => {
      const isIts = peerCredentials(handleFd(lifeline)!).pid === pid;
      if (!isIts) return void lifeline.destroy(); // anybody may connect
      server.close();
      succession.hear(lifeline);
    });
    server.listen({ fd: listener });
    this.exited = ended(pid).then(async (first) => {
      server.close();
      await succession.ended; // another process may run on in its place
      return succession.lastOf(first);
    });
  }

  kill(signal: NodeJS.Signals): void {
    this.#succession.kill(signal);
  }
}

/** Resolves when this child has ended. */
function ended(pid: number): Promise<Ending> {
  return new Promise((resolve) => {
    const alive = setInterval(() => {}, NEVER_MS);
    const look = (): void => {
      const status = endedChild(pid);
      if (status === undefined) return;
      process.off('SIGCHLD', look);
      clearInterval(alive);
      resolve(endingOf(status));
    };
    process.on('SIGCHLD', look);
    look(); // it may have ended before
  });
}

/** What waitpid(2) has told of it (WIFSIGNALED, WTERMSIG, WEXITSTATUS). */
function endingOf(status: number): Ending {
  const number = status & 0x7f;
  if (number === 0) return { status: (status >> 8) & 0xff, signal: null };
  const [name] = Object.entries(constants.signals).find(([, value]) => value === number) ?? [];
  return { status: null, signal: (name as NodeJS.Signals | undefined) ?? 'SIGKILL' };
}
