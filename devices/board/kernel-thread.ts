/**
 * The kernel worker as the board sees it. The board starts it with its view of the machine, stops
 * it, and watches it.
 */
import type { KernelMessage, KernelStop, KernelWorkerData } from '../../iommu/kernel/board/protocol.ts';
import { SysError } from '../../platform/errno.ts';
import { OwnedThread } from '../../platform/owned-thread.ts';
import { startWorker } from '../../platform/thread.ts';

const START_MS = 30_000;
const STOP_MS = 5000;

export class KernelThread {
  readonly #thread: OwnedThread;
  /** Resolves with the reason when the kernel ends without a request. */
  readonly failed: Promise<string>;
  /** Resolves when the kernel listens. */
  readonly ready: Promise<void>;
  /** Resolves when the kernel has ended to make room for the next one, with what that one gets. */
  readonly down: Promise<KernelWorkerData['mediated']>;

  constructor(data: KernelWorkerData, build?: string) {
    const worker = startWorker('iommu/kernel/worker', data, {
      name: 'kernel',
      build,
      transferList: [data.physicalPort, data.board, ...data.mediated.map(({ port }) => port)],
    });
    this.#thread = new OwnedThread(worker);
    let fatal: string | undefined;
    let refused: SysError | undefined;
    let left: KernelWorkerData['mediated'] | undefined;
    const listening = new Promise<void>((resolve) => {
      worker.on('message', (message: KernelMessage) => {
        if ('ready' in message) resolve();
        else if ('down' in message) left = message.mediated;
        else {
          fatal = message.fatal;
          if (message.code !== undefined) refused = new SysError(message.code, message.fatal);
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
    this.ready = this.#untilReady(listening, () => refused);
  }

  /**
   * Rejects with the reason why the kernel could not start: a refusal (e.g. of the path of its
   * socket), or a bug.
   */
  async #untilReady(listening: Promise<void>, refused: () => SysError | undefined): Promise<void> {
    const { promise: late, cancel } = timeout(START_MS, 'the kernel worker does not start');
    try {
      const reason = await Promise.race([listening, this.failed, late]);
      if (reason !== undefined) throw refused() ?? new Error(reason);
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
