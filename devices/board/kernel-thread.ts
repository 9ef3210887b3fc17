/**
 * The kernel worker as the board sees it. The board starts it with its view of the machine, lets it
 * begin when the devices answer, stops it, and watches it.
 */
import type { KernelBegin, KernelMessage, KernelStop, KernelWorkerData } from '../../iommu/kernel/board/protocol.ts';
import { SysError } from '../../platform/errno.ts';
import { OwnedThread } from '../../platform/owned-thread.ts';
import { startWorker } from '../../platform/thread.ts';

const START_MS = 30_000;
const STOP_MS = 5000;

export class KernelThread {
  readonly #thread: OwnedThread;
  /** Resolves with the reason when the kernel ends without a request. */
  readonly failed: Promise<string>;
  /** Resolves when the kernel has ended to make room for the next one, with what that one gets. */
  readonly down: Promise<KernelWorkerData['mediated']>;
  readonly #listening: Promise<void>;
  #refused: SysError | undefined;

  constructor(data: KernelWorkerData, build?: string) {
    const worker = startWorker('iommu/kernel/worker', data, {
      name: 'kernel',
      build,
      transferList: [data.physicalPort, data.board, ...data.mediated.map(({ port }) => port)],
    });
    this.#thread = new OwnedThread(worker);
    let fatal: string | undefined;
    let left: KernelWorkerData['mediated'] | undefined;
    this.#listening = new Promise<void>((resolve) => {
      worker.on('message', (message: KernelMessage) => {
        if ('ready' in message) resolve();
        else if ('down' in message) left = message.mediated;
        else {
          fatal = message.fatal;
          if (message.code !== undefined) this.#refused = new SysError(message.code, message.fatal);
        }
      });
    });
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

  /**
   * Resolves when the kernel listens. Rejects with the reason why it could not start: a refusal
   * (e.g. of the path of its socket), or a bug.
   */
  async begin(): Promise<void> {
    const begin: KernelBegin = { begin: true };
    this.#thread.worker.postMessage(begin);
    const { promise: late, cancel } = timeout(START_MS, 'the kernel worker does not start');
    try {
      const reason = await Promise.race([this.#listening, this.failed, late]);
      if (reason !== undefined) throw this.#refused ?? new Error(reason);
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
