/** The interrupt worker as main sees it. */
import { once } from 'node:events';
import type { Worker } from 'node:worker_threads';

import { EFD_CLOEXEC, EFD_NONBLOCK, eventfd, eventfdSignal } from '../../platform/libc.ts';
import { startWorker } from '../../platform/thread.ts';
import { ControlBlock } from '../machine/control-block.ts';
import type { VmShared } from '../vcpu/protocol.ts';
import type { InterruptInput, InterruptMessage } from './protocol.ts';

export class InterruptThread {
  readonly #control: Int32Array;
  readonly #kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  readonly #worker: Worker;

  /** Starts it; it obeys the `dispatch` word from the start. */
  constructor(shared: VmShared, hostFile: number) {
    this.#control = new Int32Array(shared.control);
    const input: InterruptInput = { shared, kick: this.#kick, hostFile };
    this.#worker = startWorker('vmm/interrupts/worker', input, { name: 'interrupts' });
  }

  request(what: number): void {
    Atomics.store(this.#control, ControlBlock.word.dispatch, what); // pairs with the load in InterruptDispatcher.run
    Atomics.notify(this.#control, ControlBlock.word.dispatch);
    eventfdSignal(this.#kick);
  }

  /** Resolves when it has left its loop and touches no fd any more. */
  ended(): Promise<unknown> {
    return once(this.#worker, 'exit');
  }

  listen(onMessage: (message: InterruptMessage) => void, onCrash: (error: Error) => void): void {
    this.#worker.on('message', onMessage);
    this.#worker.on('error', onCrash);
  }
}
