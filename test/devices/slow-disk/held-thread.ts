/**
 * Holds a thread of another process where it begins to read a file, as a disk holds it that does
 * not answer.
 */
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import type { Worker } from 'node:worker_threads';

import { startWorker } from '../../../platform/thread.ts';
import { HOLD, type HoldData } from './protocol.ts';

export const canHoldThreads = process.arch === 'x64';

/** Bytes that each thread of a process has read from files (proc(5), io), by thread. */
export const readBy = (pid: number): ReadonlyMap<number, number> =>
  new Map(
    readdirSync(`/proc/${pid}/task`).map((tid) => [
      Number(tid),
      Number(/^rchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/task/${tid}/io`, 'latin1'))![1]),
    ]),
  );

/** The thread of a process that has read most since `before`. */
export function readerOf(pid: number, before: ReadonlyMap<number, number>): number {
  const grown = [...readBy(pid)].map(([tid, bytes]) => [tid, bytes - (before.get(tid) ?? 0)] as const);
  return grown.toSorted(([, a], [, b]) => b - a)[0]![0];
}

const PATIENCE_MS = 10_000;

export class HeldThread {
  readonly #words: Int32Array;
  readonly #worker: Worker;
  readonly #failed: Promise<never>;

  private constructor(tid: number) {
    const words = new SharedArrayBuffer(HOLD.size);
    this.#words = new Int32Array(words);
    this.#worker = startWorker('test/devices/slow-disk/worker', { words, tid } satisfies HoldData, { name: 'hold' });
    this.#failed = once(this.#worker, 'error').then(([error]) => Promise.reject(error));
    this.#failed.catch(() => {}); // told to whoever waits
  }

  /** From then on this thread runs to its next pread64(2), and no further. */
  static async seize(tid: number): Promise<HeldThread> {
    const thread = new HeldThread(tid);
    await thread.#comes(HOLD.word.seized);
    return thread;
  }

  /** Resolves when it begins to read. */
  stands(): Promise<void> {
    return this.#comes(HOLD.word.held);
  }

  async #comes(field: number): Promise<void> {
    const { value } = Atomics.waitAsync(this.#words, field, 0, PATIENCE_MS);
    const end = await Promise.race([value, this.#failed]);
    if (end === 'timed-out') throw new Error('the thread does not come there');
  }

  /** Lets it run, wherever it is. */
  async release(): Promise<void> {
    const ended = once(this.#worker, 'exit');
    Atomics.store(this.#words, HOLD.word.released, 1);
    Atomics.notify(this.#words, HOLD.word.released);
    await ended;
  }
}
