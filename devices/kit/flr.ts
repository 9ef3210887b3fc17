/**
 * The Advanced Features capability of a conventional function (PCI ECN "Advanced Capabilities for
 * Conventional PCI"): software starts a function-level reset by a bit of its control register.
 */
import {
  PCI_AF_CAP,
  PCI_AF_CAP_FLR,
  PCI_AF_CAP_TP,
  PCI_AF_CTRL,
  PCI_AF_CTRL_FLR,
  PCI_AF_LENGTH,
  PCI_CAP_AF_SIZEOF,
  PCI_CAP_ID_AF,
} from '../../iommu/abi/pci-regs.ts';
import type { ConfigSpace } from './config-space.ts';

export class FlrCapability {
  readonly #at: number;

  /** Transactions are never pending between two accesses: the status register reads 0. */
  constructor(config: ConfigSpace) {
    this.#at = config.addCapability(PCI_CAP_ID_AF, PCI_CAP_AF_SIZEOF);
    config.set(this.#at + PCI_AF_LENGTH, 1, PCI_CAP_AF_SIZEOF);
    config.set(this.#at + PCI_AF_CAP, 1, PCI_AF_CAP_TP | PCI_AF_CAP_FLR);
  }

  /** Whether a configuration write starts the reset. */
  startsReset(offset: number, size: number, value: number): boolean {
    const byte = this.#at + PCI_AF_CTRL - offset;
    return byte >= 0 && byte < size && ((value >>> (8 * byte)) & PCI_AF_CTRL_FLR) !== 0;
  }
}
