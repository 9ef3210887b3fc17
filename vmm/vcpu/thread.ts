/**
 * The vCPU as main sees it: words it obeys, messages it says. Whose they are does not matter: in a new image main itself runs the
 * first slices (main-slices.ts), then a thread does (threads.ts).
 */
import type { Worker } from 'node:worker_threads';

import { CONSOLE_INPUT_BYTES } from '../machine/console-input.ts';
import { ControlBlock, relieveCrew, requestWord, wakeVcpu } from '../machine/control-block.ts';
import { IMSIC_BYTES } from '../machine/imsic.ts';
import { INTERRUPT_ROUTES_BYTES } from '../machine/interrupt-routes.ts';
import type { InitialState, VcpuMessage, VmShared } from './protocol.ts';

export class VcpuThread {
  readonly shared: VmShared = {
    control: new SharedArrayBuffer(ControlBlock.size),
    imsic: new SharedArrayBuffer(IMSIC_BYTES),
    routes: new SharedArrayBuffer(INTERRUPT_ROUTES_BYTES),
    input: new SharedArrayBuffer(CONSOLE_INPUT_BYTES),
  };
  readonly #control = new Int32Array(this.shared.control);
  readonly #listeners = new Set<(message: VcpuMessage) => void>();
  #worker: Worker | undefined;
  #gone: Promise<unknown> = Promise.resolve();
  #requests = 0;

  /** `worker` is the thread. A crash of it is a `failed` message. */
  attach(worker: Worker): void {
    this.#worker = worker;
    this.#gone = new Promise((resolve) => worker.once('exit', resolve));
    worker.on('message', (message: VcpuMessage) => this.tell(message));
    worker.on('error', (error) => this.tell({ kind: 'failed', reason: error.stack ?? error.message }));
  }

  /** Resolves when there is no thread. */
  get gone(): Promise<unknown> {
    return this.#gone;
  }

  /** Lets the thread begin. */
  begin(state: InitialState): void {
    this.#worker?.postMessage(state);
  }

  /** It, and who delivers its interrupts, are to leave; they are at rest. The requests that must follow are for their successors. */
  relieve(): void {
    relieveCrew(this.#control);
  }

  /** Tells the vCPU what to do, whether it runs, waits in WFI or is stopped; the request's number. */
  request(what: number): number {
    this.#requests++;
    // Pairs with the load in `obeyed`.
    Atomics.store(this.#control, ControlBlock.word.request, requestWord(this.#requests, what));
    Atomics.notify(this.#control, ControlBlock.word.request);
    wakeVcpu(this.#control);
    return this.#requests;
  }

  /** Returns how to stop listening. */
  listen(listener: (message: VcpuMessage) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Passes on what the vCPU says. */
  tell(message: VcpuMessage): void {
    for (const listener of this.#listeners) listener(message);
  }
}
