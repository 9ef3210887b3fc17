/** MSI capability with a 64-bit address and one vector, no per-vector mask (PCI 3.0 §6.8.1). */
import type { ConfigSpace } from './config-space.ts';

const CAP_ID_MSI = 0x05;
const LENGTH = 0x0e;
const CONTROL = 2;
const ADDRESS_LO = 4;
const ADDRESS_HI = 8;
const DATA = 0x0c;

const CONTROL_ENABLE = 1 << 0;
const CONTROL_64BIT = 1 << 7;

export class MsiCapability {
  readonly #config: ConfigSpace;
  readonly #at: number;

  constructor(config: ConfigSpace) {
    this.#config = config;
    this.#at = config.addCapability(CAP_ID_MSI, LENGTH);
    config.set(this.#at + CONTROL, 2, CONTROL_64BIT);
    // Multiple Message Enable stays 0: with one vector the only value that means anything.
    config.allow(this.#at + CONTROL, 2, CONTROL_ENABLE);
    config.allow(this.#at + ADDRESS_LO, 4, 0xfffffffc);
    config.allow(this.#at + ADDRESS_HI, 4, 0xffffffff);
    config.allow(this.#at + DATA, 2, 0xffff);
  }

  enabled(): boolean {
    return (this.#config.get(this.#at + CONTROL, 2) & CONTROL_ENABLE) !== 0;
  }

  /** Page number of the message address. */
  vpn(): number {
    const hi = this.#config.get(this.#at + ADDRESS_HI, 4);
    return hi * 2 ** 20 + (this.#config.get(this.#at + ADDRESS_LO, 4) >>> 12);
  }

  /** Offset of the message address in its page. */
  offset(): number {
    return this.#config.get(this.#at + ADDRESS_LO, 4) & 0xffc;
  }

  /** The 16-bit data; the upper half of the stored word is 0. */
  data(): number {
    return this.#config.get(this.#at + DATA, 2);
  }
}
