/** MSI capability with a 64-bit address and one vector, no per-vector mask (PCI 3.0 §6.8.1). */
import {
  PCI_CAP_ID_MSI,
  PCI_MSI_ADDRESS_HI,
  PCI_MSI_ADDRESS_LO,
  PCI_MSI_DATA_64,
  PCI_MSI_FLAGS,
  PCI_MSI_FLAGS_64BIT,
  PCI_MSI_FLAGS_ENABLE,
} from '../../iommu/abi/pci-regs.ts';
import type { ConfigSpace } from './config-space.ts';

const LENGTH = 0x0e;

/** The address and the data of one message. */
export interface Message {
  /** Page number of the address, and the offset in that page. */
  readonly vpn: number;
  readonly offset: number;
  readonly data: number;
}

export class MsiCapability {
  readonly #config: ConfigSpace;
  readonly #at: number;

  constructor(config: ConfigSpace) {
    this.#config = config;
    this.#at = config.addCapability(PCI_CAP_ID_MSI, LENGTH);
    config.set(this.#at + PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_64BIT);
    // Multiple Message Enable stays 0: with one vector the only value that means anything.
    config.allow(this.#at + PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_ENABLE);
    config.allow(this.#at + PCI_MSI_ADDRESS_LO, 4, 0xfffffffc);
    config.allow(this.#at + PCI_MSI_ADDRESS_HI, 4, 0xffffffff);
    config.allow(this.#at + PCI_MSI_DATA_64, 2, 0xffff);
  }

  enabled(): boolean {
    return (this.#config.get(this.#at + PCI_MSI_FLAGS, 2) & PCI_MSI_FLAGS_ENABLE) !== 0;
  }

  /** Data has 16 bits; the upper half of the stored word is 0. */
  message(): Message {
    const low = this.#config.get(this.#at + PCI_MSI_ADDRESS_LO, 4);
    const high = this.#config.get(this.#at + PCI_MSI_ADDRESS_HI, 4);
    const data = this.#config.get(this.#at + PCI_MSI_DATA_64, 2);
    return { vpn: high * 2 ** 20 + (low >>> 12), offset: low & 0xffc, data };
  }
}
