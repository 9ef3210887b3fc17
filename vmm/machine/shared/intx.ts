/**
 * INTx of a passed-through device, as vfio-pci gives it: when the device raises its line the kernel
 * masks it and signals an eventfd. The line of the guest is up from then on, until the guest has
 * completed the interrupt. Then the kernel looks at the device's line again (unmask) and signals
 * once more if it is still up.
 *
 * The count stays in the eventfd as long as the guest's line is up. So there is nothing to save: a
 * new image finds it there.
 */
import { eventfdDrain } from '../../../platform/libc/eventfd.ts';
import { POLLIN, poll } from '../../../platform/libc/poll.ts';

/** The device, as its owner's thread reaches it. */
export interface IntxAccess {
  /** The device's INTx signals this eventfd from now on, and is not masked. */
  armIntx(eventfd: number): void;
  disarmIntx(): void;
  unmaskIntx(): void;
}

export class Intx {
  readonly #eventfd: number;
  readonly #device: IntxAccess;
  #drive: (up: boolean) => void = () => {};
  #armed = false;
  #up = false;

  constructor(eventfd: number, device: IntxAccess) {
    this.#eventfd = eventfd;
    this.#device = device;
  }

  /** The guest's line is driven by this. */
  connect(drive: (up: boolean) => void): void {
    this.#drive = drive;
  }

  /** The kernel has been told of the eventfd already: by another image. */
  resume(armed: boolean): void {
    this.#armed = armed;
  }

  /** `anew`: whatever the kernel knows. */
  arm(anew = false): void {
    if (this.#armed && !anew) return;
    this.#down();
    this.#device.armIntx(this.#eventfd);
    this.#armed = true;
  }

  disarm(): void {
    if (!this.#armed) return;
    this.#armed = false;
    this.#device.disarmIntx();
    this.#down();
  }

  /** The device has been given back: its line is down for good. */
  remove(): void {
    if (!this.#armed) return;
    this.#armed = false;
    this.#down();
  }

  /** The guest's line is as another image has left it: it gets its level from the eventfd. */
  settle(): void {
    this.#up = false;
    this.#drive(false);
    this.update();
  }

  /** Looks whether the device has interrupted. */
  update(): void {
    if (this.#up || !this.#armed || !poll([{ fd: this.#eventfd, events: POLLIN }], 0)) return;
    this.#up = true;
    this.#drive(true);
  }

  /** The guest has completed an interrupt of this line, whoever has raised it. */
  completed(): void {
    if (!this.#up) return;
    this.#down();
    this.#device.unmaskIntx();
    this.update(); // before the line is looked at again
  }

  #down(): void {
    eventfdDrain(this.#eventfd);
    this.#up = false;
    this.#drive(false);
  }
}
