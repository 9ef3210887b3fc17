/**
 * The MSI-X capability of a function and its table, as the kernel programs them (drivers/pci/msi;
 * PCI 3.0 §6.8.2). The table lies in a BAR, so memory decoding is on while it is accessed, whatever
 * the user's COMMAND says (vfio_pci_memory_lock_and_enable).
 */
import {
  PCI_MSIX_ENTRY_CTRL_MASKBIT,
  PCI_MSIX_ENTRY_DATA,
  PCI_MSIX_ENTRY_LOWER_ADDR,
  PCI_MSIX_ENTRY_SIZE,
  PCI_MSIX_ENTRY_UPPER_ADDR,
  PCI_MSIX_ENTRY_VECTOR_CTRL,
  PCI_MSIX_FLAGS,
  PCI_MSIX_FLAGS_ENABLE,
  PCI_MSIX_FLAGS_MASKALL,
} from '../../../abi/pci-regs.ts';
import type { PciAccess } from './access.ts';
import { withMemory } from './memory-decoding.ts';
import type { MessageHardware } from './message-hardware.ts';
import type { MsixTable } from './resources.ts';

export class MsixHardware implements MessageHardware {
  readonly #pci: PciAccess;
  readonly #table: MsixTable;

  constructor(pci: PciAccess, table: MsixTable) {
    this.#pci = pci;
    this.#table = table;
  }

  blockFor(): undefined {
    return undefined;
  }

  reaches(): boolean {
    return true;
  }

  enable(iova: number, numbers: readonly number[]): void {
    this.#whileMasked(() => {
      this.#clear();
      for (const [vector, number] of numbers.entries()) this.#program(vector, iova, number);
    });
  }

  /**
   * No message is sent while the table is written: the function is masked as a whole, and enabled
   * (msix_capability_init). Masks of vectors count afterwards.
   */
  #whileMasked(write: () => void): void {
    this.#setFlags(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
    this.#withMemory(write);
    this.#setFlags(PCI_MSIX_FLAGS_ENABLE);
  }

  add(vector: number, iova: number, number: number): void {
    this.#withMemory(() => this.#program(vector, iova, number));
  }

  mask(vector: number): void {
    this.#withMemory(() => this.#write(vector, PCI_MSIX_ENTRY_VECTOR_CTRL, PCI_MSIX_ENTRY_CTRL_MASKBIT));
  }

  unmask(vector: number): void {
    this.#withMemory(() => this.#write(vector, PCI_MSIX_ENTRY_VECTOR_CTRL, 0));
  }

  /**
   * DEVIATION: no address stays in the table, where Linux only masks it. So an address means that
   * the vector is in use, and the next kernel can read in the table what is (PKF-6).
   */
  disable(): void {
    this.#setFlags(0);
    this.#withMemory(() => this.#clear());
  }

  /** __pci_restore_msix_state */
  restore(iova: number, numbers: readonly (number | undefined)[]): void {
    this.#whileMasked(() => {
      this.#clear();
      for (const [vector, number] of numbers.entries()) {
        if (number !== undefined) this.#program(vector, iova, number);
      }
    });
  }

  sends(): readonly (number | undefined)[] | undefined {
    const flags = this.#pci.readConfig(this.#table.at + PCI_MSIX_FLAGS, 2);
    if ((flags & PCI_MSIX_FLAGS_ENABLE) === 0) return undefined;
    const numbers: (number | undefined)[] = [];
    this.#withMemory(() => {
      for (let vector = 0; vector < this.#table.nrVectors; vector++) {
        const isUsed = this.#read(vector, PCI_MSIX_ENTRY_LOWER_ADDR) + this.#read(vector, PCI_MSIX_ENTRY_UPPER_ADDR);
        if (isUsed !== 0) numbers[vector] = this.#read(vector, PCI_MSIX_ENTRY_DATA);
      }
    });
    return Array.from(numbers);
  }

  #clear(): void {
    for (let vector = 0; vector < this.#table.nrVectors; vector++) this.#program(vector, 0, 0);
  }

  /** Masks the vector and gives it its message. */
  #program(vector: number, iova: number, number: number): void {
    this.#write(vector, PCI_MSIX_ENTRY_VECTOR_CTRL, PCI_MSIX_ENTRY_CTRL_MASKBIT);
    this.#write(vector, PCI_MSIX_ENTRY_LOWER_ADDR, iova % 2 ** 32);
    this.#write(vector, PCI_MSIX_ENTRY_UPPER_ADDR, Math.floor(iova / 2 ** 32));
    this.#write(vector, PCI_MSIX_ENTRY_DATA, number);
  }

  /** The bits of the control register that can be written. */
  #setFlags(flags: number): void {
    this.#pci.writeConfig(this.#table.at + PCI_MSIX_FLAGS, 2, flags);
  }

  #read(vector: number, at: number): number {
    return this.#pci.readBar(this.#table.bar, this.#place(vector, at), 4).lo;
  }

  #write(vector: number, at: number, value: number): void {
    this.#pci.writeBar(this.#table.bar, this.#place(vector, at), 4, { lo: value, hi: 0 });
  }

  #place(vector: number, at: number): number {
    return this.#table.offset + vector * PCI_MSIX_ENTRY_SIZE + at;
  }

  #withMemory(access: () => void): void {
    withMemory(this.#pci, access);
  }
}
