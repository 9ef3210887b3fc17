/** The interrupt worker as main sees it, or what main does in its place while it starts (main-slices.ts). */
import type { Worker } from 'node:worker_threads';

import { EFD_CLOEXEC, EFD_NONBLOCK, eventfd, eventfdSignal } from '../../platform/libc.ts';
import { ControlBlock, requestWord } from '../machine/control-block.ts';
import type { VmShared } from '../vcpu/protocol.ts';
import type { InterruptInput, InterruptMessage } from './protocol.ts';

export class InterruptThread {
  /** What delivers interrupts needs. */
  readonly input: InterruptInput;
  readonly #control: Int32Array;
  readonly #listeners = new Set<(message: InterruptMessage) => void>();
  #worker: Worker | undefined;
  #gone: Promise<unknown> = Promise.resolve();
  #requests = 0;

  /** `hostFile` is an open file of the host. */
  constructor(shared: VmShared, hostFile: number) {
    this.input = { shared, kick: eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), hostFile };
    this.#control = new Int32Array(shared.control);
  }

  /** `worker` is the thread. */
  attach(worker: Worker): void {
    this.#worker = worker;
    this.#gone = new Promise((resolve) => worker.once('exit', resolve));
    worker.on('message', (message: InterruptMessage) => this.tell(message));
    worker.on('error', (error) => this.tell({ kind: 'failed', reason: error.stack ?? error.message }));
  }

  /** Resolves when there is no thread. */
  get gone(): Promise<unknown> {
    return this.#gone;
  }

  /** Lets the thread obey the `dispatch` word from now on. */
  begin(): void {
    this.#worker?.postMessage('begin');
  }

  request(what: number): void {
    this.#requests++;
    // Pairs with the load in `obeyed`.
    Atomics.store(this.#control, ControlBlock.word.dispatch, requestWord(this.#requests, what));
    Atomics.notify(this.#control, ControlBlock.word.dispatch);
    eventfdSignal(this.input.kick);
  }

  /** Returns how to stop listening. */
  listen(listener: (message: InterruptMessage) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  tell(message: InterruptMessage): void {
    for (const listener of this.#listeners) listener(message);
  }
}
