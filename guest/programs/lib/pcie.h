#ifndef PCIE_H
#define PCIE_H

#include "imsic.h"
#include "types.h"

/* PCI Express through ECAM at 0x3000_0000, bus 0. BARs get addresses in the 32-bit window from 0x4000_0000. */

struct pci_device {
	u64 config; /* gpa of its configuration space */
	u32 slot, function;
	u64 bar0;
};

/* Finds every vendor:device, up to max, places its BARs and switches memory decoding and bus mastering on. */
u32 pcie_find(u16 vendor, u16 device, struct pci_device *found, u32 max);

/* Gives the function one message, for all vectors if it has MSI-X, and switches it on; false if it has neither. */
bool pcie_enable_msi(const struct pci_device *device, struct msi msi);

/* Masks one vector of a function with MSI-X, or lifts its mask. */
void pcie_mask_msix(const struct pci_device *device, u32 vector, bool masked);

#endif
