#ifndef VIRTIO_H
#define VIRTIO_H

#include "types.h"

/* Virtio devices in the slots of virtio-mmio, version 2 (virtio 1.3 §4.2), with split queues. */

#define VIRTQ_SIZE 64

/* Room for the largest queue. A queue whose chains are single buffers: descriptor n is buffer n. */
struct virtqueue {
	struct {
		u64 gpa;
		u32 length;
		u16 flags, next;
	} desc[VIRTQ_SIZE];
	struct {
		u16 flags, index;
		u16 ring[VIRTQ_SIZE];
	} avail;
	struct {
		u16 flags, index;
		struct {
			u32 id, length;
		} ring[VIRTQ_SIZE];
	} used __attribute__((aligned(4)));
	u64 device;
	u32 number;
	u16 size, seen;
} __attribute__((aligned(16)));

struct virtio_device {
	u64 regs;
	u32 slot;
};

/* The first device of this id; false: no slot has one. */
bool virtio_find(u32 id, struct virtio_device *device);

/* Up to FEATURES_OK, with these feature bits (0 to 31) and VERSION_1. false: the device refuses. */
bool virtio_start(const struct virtio_device *device, u32 features);
void virtio_add_queue(const struct virtio_device *device, u32 number, struct virtqueue *queue);
void virtio_driver_ok(const struct virtio_device *device);

/* One byte of the configuration. */
u8 virtio_config(const struct virtio_device *device, u32 offset);
void virtio_acknowledge(const struct virtio_device *device);

/* Gives the device a buffer, for it to write or to read. */
void virtq_give(struct virtqueue *queue, u16 buffer, void *data, u32 length, bool device_writes);
void virtq_notify(const struct virtqueue *queue);

/* A buffer that the device has given back, and how much it has written; false: there is none. */
bool virtq_take(struct virtqueue *queue, u16 *buffer, u32 *written);

#endif
