/** The news thread as the board sees it. A board without sockets behind its devices has none. */
import { EFD_CLOEXEC, EFD_NONBLOCK, eventfd, eventfdSignal } from '../../../platform/libc/eventfd.ts';
import { close } from '../../../platform/libc/fd.ts';
import { OwnedThread } from '../../../platform/owned-thread.ts';
import { startWorker } from '../../../platform/thread.ts';
import type { NewsDevice } from './protocol.ts';

const STOP_MS = 2000;

export class NewsThread {
  readonly #stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  readonly #thread: OwnedThread;

  /** `onFailure` is called when it has ended without a request: no device hears of news then. */
  constructor(devices: readonly NewsDevice[], onFailure: (reason: string) => void) {
    const worker = startWorker('devices/board/news/worker', { devices, stop: this.#stop }, { name: 'news' });
    this.#thread = new OwnedThread(worker);
    let reason = 'its worker has ended';
    worker.on('error', (error) => {
      reason = error instanceof Error ? error.message : String(error);
    });
    worker.on('exit', () => {
      if (!this.#thread.stopping) onFailure(reason);
    });
  }

  /** Ends the thread: first by a request, then by force. */
  async stop(): Promise<void> {
    await this.#thread.stop(() => eventfdSignal(this.#stop), STOP_MS);
    close(this.#stop);
  }
}
