/** Accesses of the kernel's own to what lies in a BAR. */
import { PCI_COMMAND, PCI_COMMAND_MEMORY } from '../../../abi/pci-regs.ts';
import type { PciAccess } from './access.ts';

/**
 * vfio_pci_memory_lock_and_enable: memory decoding is on during `access`, whatever the user's
 * COMMAND says.
 */
export function withMemory<T>(pci: PciAccess, access: () => T): T {
  const command = pci.readConfig(PCI_COMMAND, 2);
  const decodes = (command & PCI_COMMAND_MEMORY) !== 0;
  if (!decodes) pci.writeConfig(PCI_COMMAND, 2, command | PCI_COMMAND_MEMORY);
  const result = access();
  if (!decodes) pci.writeConfig(PCI_COMMAND, 2, command);
  return result;
}
