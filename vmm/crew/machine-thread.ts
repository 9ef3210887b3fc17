/** A thread of the VMM as main sees it: the request word that it obeys, the messages that it says, and whether it is there. */
import type { Worker } from 'node:worker_threads';

import { requestWord } from '../machine/control-block.ts';

interface Failed {
  readonly kind: 'failed';
  readonly reason: string;
}

export abstract class MachineThread<Message> {
  readonly #listeners = new Set<(message: Message | Failed) => void>();
  #worker: Worker | undefined;
  #gone: Promise<unknown> = Promise.resolve();
  #requests = 0;

  /** `worker` is the thread. A crash of it is a `failed` message. */
  attach(worker: Worker): void {
    this.#worker = worker;
    this.#gone = new Promise((resolve) => worker.once('exit', resolve));
    worker.on('message', (message: Message) => this.tell(message));
    worker.on('error', (error) => this.tell({ kind: 'failed', reason: error.stack ?? error.message }));
  }

  /** Resolves when there is no thread. */
  get gone(): Promise<unknown> {
    return this.#gone;
  }

  protected post(message: unknown): void {
    this.#worker?.postMessage(message);
  }

  /** Asks for `what` in `word`, and wakes whoever sleeps on that; the request's number. */
  protected ask(control: Int32Array, word: number, what: number): number {
    this.#requests++;
    Atomics.store(control, word, requestWord(this.#requests, what)); // pairs with the load in `obeyed`
    Atomics.notify(control, word);
    return this.#requests;
  }

  /** Returns how to stop listening. */
  listen(listener: (message: Message | Failed) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Passes on what the thread says, or main in its place. */
  tell(message: Message | Failed): void {
    for (const listener of this.#listeners) listener(message);
  }
}
