/**
 * The vCPU as main sees it: the words that it obeys, the messages that it sends. It does not matter
 * which thread is behind it. In a new image main itself runs the first slices (main-slices.ts),
 * then a thread runs the guest (threads.ts).
 */

import { int32s } from '../../../platform/shared.ts';
import {
  hartWords,
  OWNER_HART,
  REQUEST_RESET,
  REQUEST_RUN,
  REQUEST_STOP,
} from '../../machine/control/control-block.ts';
import { relieveCrew, wakeHart } from '../../machine/control/lease.ts';
import { MachineThread } from '../machine-thread.ts';
import type { VmShared } from '../vm-shared.ts';
import type { InitialState, Running, Stopped, VcpuMessage } from './protocol.ts';
import { StoppedState } from './stopped-state.ts';
import type { StoppedMachine } from './suspended.ts';

export class VcpuThread extends MachineThread<VcpuMessage> {
  readonly shared: VmShared;
  readonly #control: Int32Array;
  readonly #stopped: StoppedState;

  constructor(shared: VmShared) {
    super('vCPU');
    this.shared = shared;
    this.#control = int32s(shared.control);
    this.#stopped = new StoppedState(shared.stopped);
  }

  /** Lets the thread begin. */
  begin(state: InitialState): void {
    this.post(state);
  }

  /**
   * Makes the vCPU thread and the interrupt thread exit; both are at rest. The next requests are
   * for their successors.
   */
  relieve(): void {
    relieveCrew(this.#control);
  }

  /**
   * Lets the guest run; resolves with the time of its first instruction (CLOCK_MONOTONIC ns).
   * ETIMEDOUT, EIO.
   */
  async run(): Promise<number> {
    const answer = await this.ask(REQUEST_RUN, 'run');
    return (answer as Running).atNs;
  }

  /** Stops the guest between two instructions. ETIMEDOUT, EIO. */
  async stop(): Promise<StoppedMachine> {
    const { suspended } = (await this.ask(REQUEST_STOP, 'stop')) as Stopped;
    if (!suspended) return this.#stopped.take();
    return { atNs: suspended.atNs, state: () => suspended.state };
  }

  protected override answered(request: number, withinMs: number): VcpuMessage | undefined {
    const isThere = this.#stopped.sleepUntil(request, withinMs);
    return isThere ? { kind: 'stopped', request, suspended: undefined } : undefined;
  }

  /** Takes the state that a power-on leaves, and stops; main must fill RAM now. ETIMEDOUT, EIO. */
  async reset(): Promise<void> {
    await this.ask(REQUEST_RESET, 'reset');
  }

  override request(what: number): number {
    const number = this.put(this.#control, hartWords(OWNER_HART).request, what);
    wakeHart(this.#control, OWNER_HART); // also a vCPU in WFI looks at its request
    return number;
  }
}
