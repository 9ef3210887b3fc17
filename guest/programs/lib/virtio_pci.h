#ifndef VIRTIO_PCI_H
#define VIRTIO_PCI_H

#include "pcie.h"
#include "virtio.h"

/* Virtio devices as PCI functions, the modern interface (virtio 1.3 §4.1). They use the platform's addresses. */

struct virtio_function {
	struct pci_device pci;
	u64 common, isr, notify; /* gpas of the structures */
	u32 notify_multiplier;
};

/* The first device of this id; false: there is none. */
bool virtio_pci_find(u32 id, struct virtio_function *function);

/* From reset on: VERSION_1 and ACCESS_PLATFORM, one queue whose struct the device reaches at that iova. */
bool virtio_pci_start(const struct virtio_function *function, struct virtqueue *queue, u64 iova);
void virtio_pci_reset(const struct virtio_function *function);
void virtio_pci_notify(const struct virtio_function *function);

/* Which interrupts there were, bit 0 of a queue; drops them. */
u8 virtio_pci_take_interrupts(const struct virtio_function *function);

/* Messages of the queue and of the device use this vector; false: there is none. */
bool virtio_pci_set_vector(const struct virtio_function *function, u16 vector);

#endif
