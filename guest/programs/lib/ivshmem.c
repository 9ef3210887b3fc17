#include "ivshmem.h"

#include "mmio.h"

#define IVSHMEM_VENDOR 0x1af4
#define IVSHMEM_DEVICE 0x1110
#define PCI_BAR2 0x18

bool ivshmem_find(struct ivshmem *ivshmem)
{
	if (pcie_find(IVSHMEM_VENDOR, IVSHMEM_DEVICE, &ivshmem->pci, 1) == 0)
		return false;
	ivshmem->memory = read32(ivshmem->pci.config + PCI_BAR2) & ~0xfu;
	return true;
}
