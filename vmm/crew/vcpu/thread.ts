/**
 * The vCPU as main sees it: words it obeys, messages it says. Whose they are does not matter: in a new image main itself runs the
 * first slices (main-slices.ts), then a thread does (threads.ts).
 */
import { CONSOLE_INPUT_BYTES } from '../../machine/console-input.ts';
import { ControlBlock, relieveCrew, wakeVcpu } from '../../machine/control-block.ts';
import { IMSIC_BYTES } from '../../machine/imsic.ts';
import { INTERRUPT_ROUTES_BYTES } from '../../machine/interrupt-routes.ts';
import { MachineThread } from '../machine-thread.ts';
import type { InitialState, VcpuMessage, VmShared } from './protocol.ts';

export class VcpuThread extends MachineThread<VcpuMessage> {
  readonly shared: VmShared = {
    control: new SharedArrayBuffer(ControlBlock.size),
    imsic: new SharedArrayBuffer(IMSIC_BYTES),
    routes: new SharedArrayBuffer(INTERRUPT_ROUTES_BYTES),
    input: new SharedArrayBuffer(CONSOLE_INPUT_BYTES),
  };
  readonly #control = new Int32Array(this.shared.control);

  /** Lets the thread begin. */
  begin(state: InitialState): void {
    this.post(state);
  }

  /** It, and who delivers its interrupts, are to leave; they are at rest. The requests that must follow are for their successors. */
  relieve(): void {
    relieveCrew(this.#control);
  }

  /** Tells the vCPU what to do, whether it runs, waits in WFI or is stopped; the request's number. */
  request(what: number): number {
    const number = this.ask(this.#control, ControlBlock.word.request, what);
    wakeVcpu(this.#control);
    return number;
  }
}
