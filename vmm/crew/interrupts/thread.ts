/**
 * The interrupt thread as main sees it. While the worker starts, main does its work in its place
 * (main-slices.ts).
 */
import { EFD_CLOEXEC, EFD_NONBLOCK, eventfd, eventfdSignal } from '../../../platform/libc/eventfd.ts';
import { int32s } from '../../../platform/shared.ts';
import { MachineBlock, REQUEST_STOP } from '../../machine/control/control-block.ts';
import { MachineThread } from '../machine-thread.ts';
import { sleepUntil } from '../sleep-until.ts';
import type { InterruptInput, InterruptMessage, InterruptShared } from './protocol.ts';

export class InterruptThread extends MachineThread<InterruptMessage> {
  /** The input of the worker, or of main in its place. */
  readonly input: InterruptInput;
  readonly #control: Int32Array;

  constructor(shared: InterruptShared, waiting: Pick<InterruptInput, 'hostFile' | 'news' | 'notices'>) {
    super('interrupt thread');
    this.input = { shared, kick: eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), ...waiting };
    this.#control = int32s(shared.control);
  }

  /** Lets the thread obey the `dispatch` word from now on. */
  begin(): void {
    this.post('begin');
  }

  /**
   * Resolves when the worker takes no more interrupts from eventfds; those it has taken are
   * pending. ETIMEDOUT, EIO.
   */
  async park(): Promise<void> {
    await this.ask(REQUEST_STOP, 'stop');
  }

  protected override answered(request: number, withinMs: number): InterruptMessage | undefined {
    const word = { words: this.#control, index: MachineBlock.word.parked, value: request };
    return sleepUntil(word, withinMs) ? { kind: 'parked', request } : undefined; // the dispatcher notifies
  }

  override request(what: number): number {
    const number = this.put(this.#control, MachineBlock.word.dispatch, what);
    eventfdSignal(this.input.kick);
    return number;
  }
}
