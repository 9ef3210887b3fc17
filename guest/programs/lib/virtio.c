#include "virtio.h"

#include "mmio.h"

#define SLOT(n) (0x10001000ul + 0x1000 * (n))
#define SLOTS 8
#define MAGIC 0x74726976

#define DEVICE_ID 0x008
#define DRIVER_FEATURES 0x020
#define DRIVER_FEATURES_SEL 0x024
#define QUEUE_SEL 0x030
#define QUEUE_NUM 0x038
#define QUEUE_READY 0x044
#define QUEUE_NOTIFY 0x050
#define INTERRUPT_STATUS 0x060
#define INTERRUPT_ACK 0x064
#define STATUS 0x070
#define QUEUE_DESC 0x080
#define QUEUE_DRIVER 0x090
#define QUEUE_DEVICE 0x0a0
#define CONFIG 0x100

#define ACKNOWLEDGE 1
#define DRIVER 2
#define DRIVER_OK 4
#define FEATURES_OK 8
#define VERSION_1 1u /* bit 32 */

#define DESC_F_WRITE 2

bool virtio_find(u32 id, struct virtio_device *device)
{
	for (u32 slot = 0; slot < SLOTS; slot++) {
		if (read32(SLOT(slot)) != MAGIC || read32(SLOT(slot) + DEVICE_ID) != id)
			continue;
		device->regs = SLOT(slot);
		device->slot = slot;
		return true;
	}
	return false;
}

bool virtio_start(const struct virtio_device *device, u32 features)
{
	u64 regs = device->regs;

	write32(regs + STATUS, 0);
	write32(regs + STATUS, ACKNOWLEDGE | DRIVER);
	write32(regs + DRIVER_FEATURES_SEL, 0);
	write32(regs + DRIVER_FEATURES, features);
	write32(regs + DRIVER_FEATURES_SEL, 1);
	write32(regs + DRIVER_FEATURES, VERSION_1);
	write32(regs + STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
	return (read32(regs + STATUS) & FEATURES_OK) != 0;
}

static void write_gpa(u64 at, void *area)
{
	write32(at, (u32)(u64)area);
	write32(at + 4, (u32)((u64)area >> 32));
}

void virtio_add_queue(const struct virtio_device *device, u32 number, struct virtqueue *queue)
{
	u64 regs = device->regs;

	queue->device = regs;
	queue->number = number;
	queue->size = VIRTQ_SIZE;
	write32(regs + QUEUE_SEL, number);
	write32(regs + QUEUE_NUM, VIRTQ_SIZE);
	write_gpa(regs + QUEUE_DESC, &queue->desc);
	write_gpa(regs + QUEUE_DRIVER, &queue->avail);
	write_gpa(regs + QUEUE_DEVICE, &queue->used);
	write32(regs + QUEUE_READY, 1);
}

void virtio_driver_ok(const struct virtio_device *device)
{
	write32(device->regs + STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
}

u8 virtio_config(const struct virtio_device *device, u32 offset) { return read8(device->regs + CONFIG + offset); }

void virtio_acknowledge(const struct virtio_device *device)
{
	write32(device->regs + INTERRUPT_ACK, read32(device->regs + INTERRUPT_STATUS));
}

void virtq_give(struct virtqueue *queue, u16 buffer, void *data, u32 length, bool device_writes)
{
	queue->desc[buffer].gpa = (u64)data;
	queue->desc[buffer].length = length;
	queue->desc[buffer].flags = device_writes ? DESC_F_WRITE : 0;
	queue->avail.ring[queue->avail.index % queue->size] = buffer;
	fence_io(); /* the device sees the buffer before the index */
	*(volatile u16 *)&queue->avail.index = queue->avail.index + 1;
}

void virtq_notify(const struct virtqueue *queue) { write32(queue->device + QUEUE_NOTIFY, queue->number); }

bool virtq_take(struct virtqueue *queue, u16 *buffer, u32 *written)
{
	if (*(volatile u16 *)&queue->used.index == queue->seen)
		return false;
	fence_read();
	*buffer = (u16)queue->used.ring[queue->seen % queue->size].id;
	*written = queue->used.ring[queue->seen % queue->size].length;
	queue->seen++;
	return true;
}
