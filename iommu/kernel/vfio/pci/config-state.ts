/**
 * pci_save_state and pci_restore_state: they save and restore the header of a function, its MSI and
 * its PCI Express controls, so that the function leaves VFIO as it came (PCI-9).
 */

import {
  PCI_CAP_ID_EXP,
  PCI_COMMAND,
  PCI_COMMAND_INTX_DISABLE,
  PCI_COMMAND_MASTER,
  PCI_ERR_CAP,
  PCI_ERR_COR_MASK,
  PCI_ERR_UNCOR_MASK,
  PCI_ERR_UNCOR_SEVER,
  PCI_EXP_DEVCTL,
  PCI_MSI_FLAGS,
  PCI_MSI_FLAGS_ENABLE,
  PCI_STD_HEADER_SIZEOF,
} from '../../../abi/pci-regs.ts';
import type { PciAccess } from './access.ts';
import { msiLength } from './config-permissions.ts';
import type { PciResources } from './resources.ts';

/** Of Advanced Error Reporting (pci_save_aer_state). */
const ERROR_CONTROLS = [PCI_ERR_UNCOR_MASK, PCI_ERR_UNCOR_SEVER, PCI_ERR_COR_MASK, PCI_ERR_CAP];

export class ConfigState {
  readonly #pci: PciAccess;
  /** The saved values by dword offset. */
  readonly #dwords = new Map<number, number>();

  /**
   * `quiet`: of a function at work. It is restored as firmware leaves one: no bus master, no MSI.
   */
  constructor(pci: PciAccess, { msi, capabilities, errors }: PciResources, quiet = false) {
    this.#pci = pci;
    for (let at = 0; at < PCI_STD_HEADER_SIZEOF; at += 4) this.#save(at);
    if (quiet) this.#clear(PCI_COMMAND, PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
    const express = capabilities.find(({ id }) => id === PCI_CAP_ID_EXP)?.at;
    if (express !== undefined) this.#save(express + PCI_EXP_DEVCTL);
    if (errors !== undefined) for (const at of ERROR_CONTROLS) this.#save(errors + at);
    if (!msi) return;
    const length = msiLength(pci.readConfig(msi.at + PCI_MSI_FLAGS, 2));
    for (let at = 0; at < length; at += 4) this.#save(msi.at + at);
    if (quiet) this.#clear(msi.at, PCI_MSI_FLAGS_ENABLE << (8 * PCI_MSI_FLAGS));
  }

  #clear(at: number, bits: number): void {
    this.#dwords.set(at, (this.#dwords.get(at)! & ~bits) >>> 0);
  }

  #save(at: number): void {
    this.#dwords.set(at, this.#pci.readConfig(at, 4));
  }

  /**
   * Restores from the end down, so that BARs and the rest are right before COMMAND switches
   * decoding on. STATUS is not written.
   */
  restore(): void {
    for (const [at, value] of [...this.#dwords].reverse()) {
      if (at === PCI_COMMAND) this.#pci.writeConfig(at, 2, value & 0xffff);
      else if (this.#pci.readConfig(at, 4) !== value) this.#pci.writeConfig(at, 4, value);
    }
  }
}
