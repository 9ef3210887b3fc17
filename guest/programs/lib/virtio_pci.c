#include "virtio_pci.h"

#include "mmio.h"

#define VENDOR 0x1af4
#define DEVICE 0x1040

#define PCI_CAPABILITIES 0x34
#define CAP_ID_VENDOR 9
#define CAP_COMMON 1
#define CAP_NOTIFY 2
#define CAP_ISR 3

#define DRIVER_FEATURE_SELECT 0x08
#define DRIVER_FEATURE 0x0c
#define DEVICE_STATUS 0x14
#define DEVICE_VECTOR 0x10
#define QUEUE_VECTOR 0x1a
#define QUEUE_SELECT 0x16
#define QUEUE_SIZE 0x18
#define QUEUE_ENABLE 0x1c
#define QUEUE_DESC 0x20
#define QUEUE_DRIVER 0x28
#define QUEUE_DEVICE 0x30

#define VERSION_1 1u /* bit 32 */
#define ACCESS_PLATFORM 2u /* bit 33 */
#define ACKNOWLEDGE 1
#define DRIVER 2
#define DRIVER_OK 4
#define FEATURES_OK 8

#define OFFSET(member) ((u64)&((struct virtqueue *)0)->member)
/* The most that each of the devices takes. */
#define SIZE 8

static void write16(u64 gpa, u16 value)
{
	fence_io();
	*(volatile u16 *)gpa = value;
}

static u64 structure(const struct pci_device *pci, u64 capability)
{
	u64 bar = pci->config + 0x10 + 4 * read8(capability + 4);

	return (read32(bar) & ~0xfu) + read32(capability + 8);
}

bool virtio_pci_find(u32 id, struct virtio_function *function)
{
	u64 config;

	if (pcie_find(VENDOR, DEVICE + id, &function->pci, 1) == 0)
		return false;
	config = function->pci.config;
	for (u8 at = read8(config + PCI_CAPABILITIES); at != 0; at = read8(config + at + 1)) {
		if (read8(config + at) != CAP_ID_VENDOR)
			continue;
		switch (read8(config + at + 3)) {
		case CAP_COMMON:
			function->common = structure(&function->pci, config + at);
			break;
		case CAP_ISR:
			function->isr = structure(&function->pci, config + at);
			break;
		case CAP_NOTIFY:
			function->notify = structure(&function->pci, config + at);
			function->notify_multiplier = read32(config + at + 16);
			break;
		}
	}
	return true;
}

void virtio_pci_reset(const struct virtio_function *function)
{
	write8(function->common + DEVICE_STATUS, 0);
	while (read8(function->common + DEVICE_STATUS) != 0)
		;
}

bool virtio_pci_start(const struct virtio_function *function, struct virtqueue *queue, u64 iova)
{
	u64 common = function->common;

	for (u32 i = 0; i < sizeof(*queue) / sizeof(u64); i++)
		((volatile u64 *)queue)[i] = 0;
	queue->size = SIZE;
	virtio_pci_reset(function);
	write8(common + DEVICE_STATUS, ACKNOWLEDGE | DRIVER);
	write32(common + DRIVER_FEATURE_SELECT, 1);
	write32(common + DRIVER_FEATURE, VERSION_1 | ACCESS_PLATFORM);
	write8(common + DEVICE_STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	if (!(read8(common + DEVICE_STATUS) & FEATURES_OK))
		return false;
	write16(common + QUEUE_SELECT, 0);
	write16(common + QUEUE_SIZE, SIZE);
	write64(common + QUEUE_DESC, iova + OFFSET(desc));
	write64(common + QUEUE_DRIVER, iova + OFFSET(avail));
	write64(common + QUEUE_DEVICE, iova + OFFSET(used));
	write16(common + QUEUE_ENABLE, 1);
	write8(common + DEVICE_STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
	return true;
}

void virtio_pci_notify(const struct virtio_function *function) { write16(function->notify, 0); }

u8 virtio_pci_take_interrupts(const struct virtio_function *function) { return read8(function->isr); }

bool virtio_pci_set_vector(const struct virtio_function *function, u16 vector)
{
	write16(function->common + DEVICE_VECTOR, vector);
	write16(function->common + QUEUE_VECTOR, vector);
	return *(volatile u16 *)(function->common + QUEUE_VECTOR) == vector;
}
