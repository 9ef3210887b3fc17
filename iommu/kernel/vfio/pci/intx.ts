/**
 * INTx of one function (vfio_pci_intrs.c, vfio_intx_*; PCI-4, PCI-5). It is a level on the board's
 * wire, and it is masked when it fires.
 */
import type { IntxLine } from '../../../bus/interrupts.ts';
import type { EventTrigger } from './event-trigger.ts';

export class Intx {
  readonly #line: IntxLine;
  #trigger: EventTrigger | undefined;
  #enabled = false;
  /** virq_disabled: the user has set the INTx disable bit in the device's COMMAND. */
  #disabledByConfig = false;

  constructor(line: IntxLine) {
    this.#line = line;
  }

  get enabled(): boolean {
    return this.#enabled;
  }

  /** vfio_intx_enable */
  enable(trigger: EventTrigger | undefined): void {
    this.#enabled = true;
    if (this.#disabledByConfig) this.#line.mask();
    else this.#line.unmask();
    this.setTrigger(trigger);
  }

  /** vfio_intx_set_signal. A mask stays, also a mask that a delivery has set. */
  setTrigger(trigger: EventTrigger | undefined): void {
    const old = this.#trigger;
    this.#trigger = trigger;
    // returns when the device worker has let go of the old one
    this.#line.setSource(trigger?.source ?? -1);
    old?.close();
  }

  /** vfio_intx_disable */
  disable(): void {
    this.setTrigger(undefined);
    this.#enabled = false;
  }

  mask(): void {
    if (this.#enabled) this.#line.mask();
  }

  /**
   * A level that is still up fires again (PCI-5). No effect while the user's COMMAND disables INTx.
   */
  unmask(): void {
    if (this.#enabled && !this.#disabledByConfig) this.#line.unmask();
  }

  /** vfio_send_intx_eventfd, called for loop-back. */
  raise(): void {
    if (this.#enabled && !this.#disabledByConfig) this.#trigger?.signal();
  }

  /**
   * The INTx disable bit of COMMAND in the virtual config space has changed. The bit is a second
   * mask (PCI-9).
   */
  disabledByConfig(on: boolean): void {
    if (on === this.#disabledByConfig) return;
    this.#disabledByConfig = on;
    if (!this.#enabled) return;
    if (on) this.#line.mask();
    else this.#line.unmask();
  }

  raised(): number {
    return this.#line.raised();
  }
}
