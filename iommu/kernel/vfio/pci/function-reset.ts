/**
 * pci_try_reset_function and __pci_reset_function_locked for the one reset that functions here have
 * (drivers/pci/pci.c; PCI-6).
 */
import { PCI_COMMAND, PCI_COMMAND_INTX_DISABLE } from '../../../abi/pci-regs.ts';
import type { PciAccess } from './access.ts';
import { ConfigState } from './config-state.ts';
import type { PciResources } from './resources.ts';

/**
 * Resets a function that can be reset; false for another one. Afterwards its configuration space is
 * as it was.
 */
export function resetFunction(pci: PciAccess, resources: PciResources): boolean {
  if (resources.flr === undefined) return false;
  const saved = new ConfigState(pci, resources);
  pci.writeConfig(PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE); // pci_dev_save_and_disable
  startReset(pci, resources);
  saved.restore();
  return true;
}

/** Resets a function that can be reset. Its configuration space is then as at power-on. */
export function startReset(pci: PciAccess, { flr }: PciResources): void {
  // A device here has no transaction pending when a cycle reaches it, and needs no time to reset.
  if (flr) pci.writeConfig(flr.at, flr.size, flr.value);
}
