/**
 * The threads of a guest that another process still runs. They are started and ready, and wait for
 * the guest. Otherwise the guest would stand twice more after its pause: some 12 ms in which main
 * starts the threads, and 10 ms in which the vCPU thread runs all its code for the first time.
 */
import { connectWaitingThread, type WaitingChannel } from '../passthrough/thread-channel.ts';
import type { Vm } from '../vm/vm.ts';
import { startThreads } from './start-threads.ts';

export class WaitingCrew {
  readonly #channel: WaitingChannel | undefined;

  private constructor(channel: WaitingChannel | undefined) {
    this.#channel = channel;
  }

  /** Resolves when the threads wait. EIO: one has failed. */
  static async start(vm: Vm): Promise<WaitingCrew> {
    const { host } = vm.parts;
    const channel = host && connectWaitingThread(host);
    await Promise.race([startThreads(vm, { channel, ahead: true }), vm.ended]);
    return new WaitingCrew(channel);
  }

  /** The guest is in this process now. */
  come(): void {
    this.#channel?.postInterrupts();
  }
}
