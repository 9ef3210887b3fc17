/** The MSI capability of a function, as the kernel programs it (PCI 3.0 §6.8.1). */
import {
  PCI_MSI_ADDRESS_HI,
  PCI_MSI_ADDRESS_LO,
  PCI_MSI_DATA_32,
  PCI_MSI_DATA_64,
  PCI_MSI_FLAGS,
  PCI_MSI_FLAGS_ENABLE,
  PCI_MSI_FLAGS_QSIZE,
} from '../../../abi/pci-regs.ts';
import type { PciAccess } from './access.ts';
import type { MessageHardware } from './message-hardware.ts';
import type { PciResources } from './resources.ts';

/** NOT MODELLED: masks of vectors. */
export class MsiHardware implements MessageHardware {
  readonly #pci: PciAccess;
  readonly #capability: NonNullable<PciResources['msi']>;

  constructor(pci: PciAccess, capability: NonNullable<PciResources['msi']>) {
    this.#pci = pci;
    this.#capability = capability;
  }

  /** A function tells its vectors apart by the low bits of the data. */
  blockFor(nrVectors: number): number {
    return 1 << queueSize(nrVectors);
  }

  reaches(iova: number): boolean {
    return iova < 2 ** 32 || this.#capability.is64;
  }

  /** Writes the message first and then the enable bit (PCI 3.0 §6.8.3.1). */
  enable(iova: number, numbers: readonly number[]): void {
    const { at, is64 } = this.#capability;
    const flags = this.#flags() & ~(PCI_MSI_FLAGS_QSIZE | PCI_MSI_FLAGS_ENABLE);
    this.#pci.writeConfig(at + PCI_MSI_FLAGS, 2, flags);
    this.#pci.writeConfig(at + PCI_MSI_ADDRESS_LO, 4, iova % 2 ** 32);
    if (is64) this.#pci.writeConfig(at + PCI_MSI_ADDRESS_HI, 4, Math.floor(iova / 2 ** 32));
    this.#pci.writeConfig(this.#data(), 2, numbers[0]!);
    this.#pci.writeConfig(at + PCI_MSI_FLAGS, 2, flags | (queueSize(numbers.length) << 4) | PCI_MSI_FLAGS_ENABLE);
  }

  add(): void {
    throw new Error('MSI has no further vectors');
  }

  mask(): void {}

  unmask(): void {}

  disable(): void {
    this.#pci.writeConfig(this.#capability.at + PCI_MSI_FLAGS, 2, this.#flags() & ~PCI_MSI_FLAGS_ENABLE);
  }

  /** The capability is part of the saved configuration space (config-state.ts). */
  restore(): void {}

  sends(): readonly number[] | undefined {
    const flags = this.#flags();
    if ((flags & PCI_MSI_FLAGS_ENABLE) === 0) return undefined;
    const base = this.#pci.readConfig(this.#data(), 2);
    return Array.from({ length: 1 << ((flags & PCI_MSI_FLAGS_QSIZE) >> 4) }, (_, i) => base + i);
  }

  #flags(): number {
    return this.#pci.readConfig(this.#capability.at + PCI_MSI_FLAGS, 2);
  }

  #data(): number {
    const { at, is64 } = this.#capability;
    return at + (is64 ? PCI_MSI_DATA_64 : PCI_MSI_DATA_32);
  }
}

/** log2 of the block that `nrVectors` vectors need. */
export const queueSize = (nrVectors: number): number => Math.ceil(Math.log2(nrVectors));
