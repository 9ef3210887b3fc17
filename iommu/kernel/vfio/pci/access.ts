/** Configuration and memory cycles to one function of the board's bus. */
import { type Halves, MailboxClient, REGION_CONFIG } from '../../../../platform/mailbox.ts';

export class PciAccess {
  readonly #mailbox: MailboxClient;

  constructor(mailbox: SharedArrayBuffer) {
    this.#mailbox = new MailboxClient(mailbox);
  }

  /** `size` is 1, 2 or 4, `offset` a multiple of it. */
  readConfig(offset: number, size: number): number {
    const { lo } = this.#mailbox.read(REGION_CONFIG, offset, size);
    return size === 4 ? lo : lo & (2 ** (8 * size) - 1);
  }

  writeConfig(offset: number, size: number, value: number): void {
    this.#mailbox.write(REGION_CONFIG, offset, size, value >>> 0);
  }

  /** `size` is 1, 2, 4 or 8, `offset` a multiple of it and inside the BAR. */
  readBar(bar: number, offset: number, size: number): Halves {
    return this.#mailbox.read(bar, offset, size);
  }

  writeBar(bar: number, offset: number, size: number, { lo, hi }: Halves): void {
    this.#mailbox.write(bar, offset, size, lo, hi);
  }
}
