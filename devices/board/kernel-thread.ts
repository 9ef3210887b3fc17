/**
 * The kernel worker as the board sees it. The board loads it, lets it begin with its view of the
 * machine, stops it, and watches it. A kernel that is loaded and does not begin touches nothing.
 */
import type { MessagePort, Worker } from 'node:worker_threads';

import type { KernelBegin, KernelMessage, KernelStop, KernelWorkerData } from '../../iommu/kernel/board/protocol.ts';
import { enoexec, SysError } from '../../platform/errno.ts';
import { OwnedThread } from '../../platform/owned-thread.ts';
import { startKernelWorker } from './early-threads.ts';

const START_MS = 30_000;
const STOP_MS = 5000;

export class KernelThread {
  readonly #thread: OwnedThread;
  /** Resolves with the reason when the kernel ends without a request. */
  readonly failed: Promise<string>;
  /** Resolves when the kernel has ended to make room for the next one, with what that one gets. */
  readonly down: Promise<KernelWorkerData['mediated']>;
  readonly #loaded: Promise<void>;
  readonly #listening: Promise<void>;
  #refused: SysError | undefined;

  constructor(worker: Worker = startKernelWorker()) {
    worker.ref(); // whoever has started it may have let the process end without it
    this.#thread = new OwnedThread(worker);
    let fatal: string | undefined;
    let left: KernelWorkerData['mediated'] | undefined;
    worker.on('message', (message: KernelMessage) => {
      if ('down' in message) left = message.mediated;
      if (!('fatal' in message)) return;
      fatal = message.fatal;
      if (message.code !== undefined) this.#refused = new SysError(message.code, message.fatal);
    });
    const told = (what: 'loaded' | 'ready'): Promise<void> =>
      new Promise((resolve) => {
        worker.on('message', (message: KernelMessage) => {
          if (what in message) resolve();
        });
      });
    this.#loaded = told('loaded');
    this.#listening = told('ready');
    worker.on('error', (error) => {
      fatal ??= error instanceof Error ? error.message : String(error);
    });
    this.down = new Promise((resolve) => {
      worker.on('exit', () => {
        if (left) resolve(left);
      });
    });
    this.failed = new Promise((resolve) => {
      worker.on('exit', () => {
        if (!left && !this.#thread.stopping) resolve(fatal ?? 'the kernel worker has ended');
      });
    });
  }

  /** Resolves when the kernel's code is there. ENOEXEC: it cannot be loaded. */
  async loaded(): Promise<void> {
    const reason = await this.#within(this.#loaded, 'the kernel worker does not load');
    if (reason !== undefined) throw enoexec(reason);
  }

  /**
   * Resolves when the kernel listens. Rejects with the reason why it could not start: a refusal
   * (e.g. of the path of its socket), or a bug.
   */
  async begin(data: KernelWorkerData, ports: readonly MessagePort[]): Promise<void> {
    const begin: KernelBegin = { begin: data };
    this.#thread.worker.postMessage(begin, ports);
    const reason = await this.#within(this.#listening, 'the kernel worker does not start');
    if (reason !== undefined) throw this.#refused ?? new Error(reason);
  }

  /** Undefined when `done` resolves; otherwise the reason why it will not. */
  async #within(done: Promise<void>, tooLate: string): Promise<string | undefined> {
    const { promise: late, cancel } = timeout(START_MS, tooLate);
    try {
      return (await Promise.race([done, this.failed, late])) ?? undefined;
    } finally {
      cancel();
    }
  }

  /**
   * Stops the kernel, which closes everything and unlinks its socket. If it does not stop, it is
   * ended by force.
   */
  stop(): Promise<void> {
    const stop: KernelStop = { stop: true };
    return this.#thread.stop(() => this.#thread.worker.postMessage(stop), STOP_MS);
  }
}

function timeout(ms: number, reason: string): { readonly promise: Promise<string>; readonly cancel: () => void } {
  let timer: NodeJS.Timeout | undefined;
  const promise = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve(reason), ms);
  });
  return { promise, cancel: () => clearTimeout(timer) };
}
