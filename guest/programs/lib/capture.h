#ifndef CAPTURE_H
#define CAPTURE_H

#include "pcie.h"
#include "types.h"

/*
 * The frame grabber, PCI 1234:ca97. It writes frames into a ring in RAM for ever, and after each the number of frames into an
 * index in RAM; nothing is read from the device while it runs. When the ring is full the oldest frame is overwritten.
 */

#define CAPTURE_VENDOR 0x1234
#define CAPTURE_DEVICE 0xca97
#define MAX_CAPTURES 16
#define CAPTURE_RING_SIZE (1u << 20)

struct capture_setup {
	u32 frames;     /* ring slots, a power of two */
	u32 frame_size; /* frames * frame_size <= CAPTURE_RING_SIZE */
	u32 rate;       /* frames per second */
	u32 irq_every;  /* frames per interrupt */
};

struct capture {
	struct pci_device pci;
	struct capture_setup setup;
	volatile u64 *index; /* written by the device: frames written, and dropped << 32 */
	const u8 *ring; /* the device's view and ours are the same: iova = gpa */
	volatile bool interrupted; /* an interrupt is to be acknowledged */
	bool stopped;
	u32 end;  /* once stopped: frames written in all */
	u64 next;     /* frame to check next, counted in frames written */
	u64 sequence; /* the sequence number it must have; larger by the frames the device could not write */
	u64 checked, lost, corrupt;
};

/* All capture devices of the machine, their MSIs on; NULL error, or what is wrong with one of them. */
u32 capture_find(struct capture *captures, u32 max, const char **error);

/* Starts it; NULL, or what is wrong. */
const char *capture_start(struct capture *capture, struct capture_setup setup);

/* Acknowledges the interrupt that has arrived, if one has. */
void capture_acknowledge(struct capture *capture);

/* Checks at most `max` frames that have arrived, and gives their slots back. True if there was something to do. */
bool capture_service(struct capture *capture, u32 max);

/* Frames written and not checked yet. */
u32 capture_pending(const struct capture *capture);

/* Stops it. What it has written can still be checked. */
void capture_stop(struct capture *capture);

/* Everything written before the stop has been checked. */
bool capture_drained(const struct capture *capture);

#endif
