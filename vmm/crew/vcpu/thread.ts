/**
 * The vCPU as main sees it: words it obeys, messages it says. Whose they are does not matter: in a new image main itself runs the
 * first slices (main-slices.ts), then a thread does (threads.ts).
 */

import {
  ControlBlock,
  REQUEST_RESET,
  REQUEST_RUN,
  REQUEST_STOP,
  relieveCrew,
  wakeVcpu,
} from '../../machine/control/control-block.ts';
import { IMSIC_BYTES } from '../../machine/hart-local/imsic.ts';
import { CONSOLE_INPUT_BYTES } from '../../machine/shared/console-input.ts';
import { INTERRUPT_ROUTES_BYTES } from '../../machine/shared/interrupt-routes.ts';
import { MachineThread } from '../machine-thread.ts';
import type { InitialState, Running, Stopped, Suspended, VcpuMessage, VmShared } from './protocol.ts';

export class VcpuThread extends MachineThread<VcpuMessage> {
  readonly shared: VmShared = {
    control: new SharedArrayBuffer(ControlBlock.size),
    imsic: new SharedArrayBuffer(IMSIC_BYTES),
    routes: new SharedArrayBuffer(INTERRUPT_ROUTES_BYTES),
    input: new SharedArrayBuffer(CONSOLE_INPUT_BYTES),
  };
  readonly #control = new Int32Array(this.shared.control);

  constructor() {
    super('vCPU');
  }

  /** Lets the thread begin. */
  begin(state: InitialState): void {
    this.post(state);
  }

  /** It, and who delivers its interrupts, are to leave; they are at rest. The requests that must follow are for their successors. */
  relieve(): void {
    relieveCrew(this.#control);
  }

  /** Lets the guest run; resolves with the time of its first instruction (CLOCK_MONOTONIC ns). ETIMEDOUT, EIO. */
  async run(): Promise<number> {
    const answer = await this.ask(REQUEST_RUN, 'run');
    return (answer as Running).atNs;
  }

  /** Stops the guest between two instructions. ETIMEDOUT, EIO. */
  async stop(): Promise<Suspended> {
    return (await this.ask(REQUEST_STOP, 'stop')) as Stopped;
  }

  /** Takes the state that a power-on leaves, and stops; RAM is to be filled now. ETIMEDOUT, EIO. */
  async reset(): Promise<void> {
    await this.ask(REQUEST_RESET, 'reset');
  }

  override request(what: number): number {
    const number = this.put(this.#control, ControlBlock.word.request, what);
    wakeVcpu(this.#control); // also a vCPU in WFI looks at its request
    return number;
  }
}
