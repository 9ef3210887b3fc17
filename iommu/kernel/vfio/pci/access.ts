/** Configuration and memory cycles to one PCI function. */
import { type Halves, MailboxClient, REGION_CONFIG } from '../../../../platform/mailbox.ts';

export interface PciAccess {
  /** `size` is 1, 2 or 4. `offset` is a multiple of it. */
  readConfig(offset: number, size: number): number;
  writeConfig(offset: number, size: number, value: number): void;
  /** `size` is 1, 2, 4 or 8. `offset` is a multiple of it and inside the BAR. */
  readBar(bar: number, offset: number, size: number): Halves;
  writeBar(bar: number, offset: number, size: number, value: Halves): void;
}

/**
 * How long a cycle waits for a device: TIMEOUT_MS if the device has answered the last cycle,
 * DEAD_TIMEOUT_MS if it has not.
 */
const TIMEOUT_MS = 1000;
const DEAD_TIMEOUT_MS = 10;

/**
 * Access to a function on the board's bus. A cycle blocks the kernel's thread until the device
 * worker answers. If no worker answers, reads give ones (PCIe 6.0 §2.8), and the following cycles
 * to the function wait only briefly.
 */
export class BusAccess implements PciAccess {
  readonly #patient: MailboxClient;
  readonly #brief: MailboxClient;
  #answers = true;

  constructor(mailbox: SharedArrayBuffer) {
    this.#patient = new MailboxClient(mailbox, TIMEOUT_MS);
    this.#brief = new MailboxClient(mailbox, DEAD_TIMEOUT_MS);
  }

  #cycle<T>(run: (mailbox: MailboxClient) => T): T {
    const mailbox = this.#answers ? this.#patient : this.#brief;
    const { timeouts } = mailbox;
    const result = run(mailbox);
    this.#answers = mailbox.timeouts === timeouts;
    return result;
  }

  readConfig(offset: number, size: number): number {
    const { lo } = this.#cycle((mailbox) => mailbox.read(REGION_CONFIG, offset, size));
    return size === 4 ? lo : lo & (2 ** (8 * size) - 1);
  }

  writeConfig(offset: number, size: number, value: number): void {
    this.#cycle((mailbox) => mailbox.write(REGION_CONFIG, offset, size, value >>> 0));
  }

  readBar(bar: number, offset: number, size: number): Halves {
    return this.#cycle((mailbox) => mailbox.read(bar, offset, size));
  }

  writeBar(bar: number, offset: number, size: number, { lo, hi }: Halves): void {
    this.#cycle((mailbox) => mailbox.write(bar, offset, size, lo, hi));
  }
}
