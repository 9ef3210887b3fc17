#ifndef IVSHMEM_H
#define IVSHMEM_H

#include "pcie.h"
#include "types.h"

/* ivshmem-plain, PCI 1af4:1110: memory in BAR 2. */

struct ivshmem {
	struct pci_device pci;
	u64 memory; /* gpa */
};

/* The first one of the machine. */
bool ivshmem_find(struct ivshmem *ivshmem);

#endif
