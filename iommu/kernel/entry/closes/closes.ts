/**
 * Tells when open files of memory objects are closed: their last fd in any process, and their last
 * mapping. Linux queues the event before close(2) returns. The first watch starts a thread.
 */
import { eventfd, eventfdSignal } from '../../../../platform/libc/eventfd.ts';
import { close } from '../../../../platform/libc/fd.ts';
import { inotifyCreate, takeCloses, watchCloses } from '../../../../platform/libc/inotify.ts';
import { OwnedThread } from '../../../../platform/owned-thread.ts';
import { startWorker } from '../../../../platform/thread.ts';
import type { ClosesWorkerData } from './protocol.ts';

/** The thread does nothing but wait. */
const STOP_MS = 5000;

export class Closes {
  readonly #inotify = inotifyCreate();
  readonly #stop: number;
  readonly #thread: OwnedThread;

  /** Errors of eventfd(2) and inotify_init1(2). `onClose` is called soon after a close. */
  constructor(onClose: () => void) {
    try {
      this.#stop = eventfd();
    } catch (error) {
      close(this.#inotify);
      throw error;
    }
    const data: ClosesWorkerData = { inotify: this.#inotify, stop: this.#stop };
    const worker = startWorker('iommu/kernel/entry/closes/worker', data, { name: 'closes' });
    worker.on('message', onClose);
    worker.unref();
    this.#thread = new OwnedThread(worker);
  }

  /** The number of the watch. ENOSPC: the user has too many. */
  watch(object: number): number {
    return watchCloses(this.#inotify, object);
  }

  /** The watches with a close since the last time; −1 stands for all. */
  take(): readonly number[] {
    return takeCloses(this.#inotify);
  }

  async close(): Promise<void> {
    await this.#thread.stop(() => eventfdSignal(this.#stop), STOP_MS);
    close(this.#inotify);
    close(this.#stop);
  }
}
