/** Configuration and memory cycles to one function. */
import { type Halves, MailboxClient, REGION_CONFIG } from '../../../../platform/mailbox.ts';

export interface PciAccess {
  /** `size` is 1, 2 or 4, `offset` a multiple of it. */
  readConfig(offset: number, size: number): number;
  writeConfig(offset: number, size: number, value: number): void;
  /** `size` is 1, 2, 4 or 8, `offset` a multiple of it and inside the BAR. */
  readBar(bar: number, offset: number, size: number): Halves;
  writeBar(bar: number, offset: number, size: number, value: Halves): void;
}

/** A function on the board's bus; a cycle blocks the kernel's thread until the device worker answers or a second has passed. */
export class BusAccess implements PciAccess {
  readonly #mailbox: MailboxClient;

  constructor(mailbox: SharedArrayBuffer) {
    this.#mailbox = new MailboxClient(mailbox);
  }

  readConfig(offset: number, size: number): number {
    const { lo } = this.#mailbox.read(REGION_CONFIG, offset, size);
    return size === 4 ? lo : lo & (2 ** (8 * size) - 1);
  }

  writeConfig(offset: number, size: number, value: number): void {
    this.#mailbox.write(REGION_CONFIG, offset, size, value >>> 0);
  }

  readBar(bar: number, offset: number, size: number): Halves {
    return this.#mailbox.read(bar, offset, size);
  }

  writeBar(bar: number, offset: number, size: number, { lo, hi }: Halves): void {
    this.#mailbox.write(bar, offset, size, lo, hi);
  }
}
