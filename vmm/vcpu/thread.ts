/** The vCPU thread as main sees it. Light on purpose: a new image starts it before it loads anything else. */
import type { Worker } from 'node:worker_threads';

import { startWorker } from '../../platform/thread.ts';
import { CONSOLE_INPUT_BYTES } from '../machine/console-input.ts';
import { ControlBlock, requestWord, wakeVcpu } from '../machine/control-block.ts';
import { IMSIC_BYTES } from '../machine/imsic.ts';
import { INTERRUPT_ROUTES_BYTES } from '../machine/interrupt-routes.ts';
import type { VcpuInput, VcpuMessage, VcpuSetup, VmShared } from './protocol.ts';

export class VcpuThread {
  readonly shared: VmShared = {
    control: new SharedArrayBuffer(ControlBlock.size),
    imsic: new SharedArrayBuffer(IMSIC_BYTES),
    routes: new SharedArrayBuffer(INTERRUPT_ROUTES_BYTES),
    input: new SharedArrayBuffer(CONSOLE_INPUT_BYTES),
  };
  readonly #control = new Int32Array(this.shared.control);
  readonly #worker: Worker;
  #requests = 0;

  constructor() {
    this.#worker = startWorker<VcpuInput>('vmm/vcpu/worker', { shared: this.shared }, { name: 'vcpu0' });
  }

  setUp(setup: VcpuSetup): void {
    this.#worker.postMessage(setup);
  }

  /** Tells the vCPU what to do, whether it runs, waits in WFI or is stopped; the request's number. */
  request(what: number): number {
    this.#requests++;
    // Pairs with the load in vcpu/loop.ts.
    Atomics.store(this.#control, ControlBlock.word.request, requestWord(this.#requests, what));
    Atomics.notify(this.#control, ControlBlock.word.request);
    wakeVcpu(this.#control);
    return this.#requests;
  }

  /** What the thread says; a crash of the thread is a `failed` message too. */
  listen(listener: (message: VcpuMessage) => void): void {
    this.#worker.on('message', listener);
    this.#worker.on('error', (error) => listener({ kind: 'failed', reason: error.stack ?? error.message }));
  }
}
