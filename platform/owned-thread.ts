/** A worker thread that somebody has started and ends: by asking it, then by force. */
import type { Worker } from 'node:worker_threads';

export class OwnedThread {
  readonly worker: Worker;
  readonly #exited: Promise<unknown>;
  #gone = false;
  #stopping = false;

  constructor(worker: Worker) {
    this.worker = worker;
    this.#exited = new Promise((resolve) => worker.once('exit', resolve));
    worker.once('exit', () => {
      this.#gone = true;
    });
  }

  /** The owner has asked for its end: it is no failure. */
  get stopping(): boolean {
    return this.#stopping;
  }

  /**
   * Ends the thread: `ask` tells it to; if it has not ended after `ms` it is terminated. Resolves
   * when it has ended, at once if that was before.
   */
  async stop(ask: () => void, ms: number): Promise<void> {
    if (this.#gone) return;
    this.#stopping = true;
    ask();
    const timer = setTimeout(() => void this.worker.terminate(), ms);
    await this.#exited;
    clearTimeout(timer);
  }
}
