#include "lib/capture.h"
#include "lib/clint.h"
#include "lib/console.h"
#include "lib/crc32.h"
#include "lib/csr.h"
#include "lib/finisher.h"
#include "lib/frame.h"
#include "lib/imsic.h"
#include "lib/ivshmem.h"
#include "lib/mmio.h"
#include "lib/trap.h"

/*
 * Two guests that share the memory of their ivshmem devices. The one with a capture device lets it write its frames straight into
 * that memory; the other one reads and checks them there. Console:
 *   s  prints a line `@stats {json}`
 *   q  writer: stops the device; reader: checks the rest; prints a line `@final {json}`
 *   x  powers off: status 0 if nothing was lost or wrong, else 1
 */

#define FRAMES 4096u
#define FRAME_SIZE 64u
#define RATE 150u
#define IRQ_EVERY 16u
/* Frames checked before the console gets a turn. */
#define BATCH 16u

/* The shared memory. It begins with zeros. */
#define INDEX 0x00  /* u64, written by the device: frames written, and dropped << 32 */
#define STARTED 0x40 /* u32, written by the writer: 1 */
#define ENDED 0x48   /* u64, written by the writer: 1 << 32 | frames written in all */
#define RING 0x1000

static struct ivshmem shared;
static struct capture capture;
static bool writes;

static struct {
	u64 next, sequence; /* the frame to read next, and the sequence number that it must have */
	u64 checked, lost, corrupt;
	u64 held[FRAME_SIZE / 8];
} reader;

static u64 load(u64 offset)
{
	u64 value = *(volatile u64 *)(shared.memory + offset);

	fence_io();
	return value;
}

static void report(const char *name)
{
	print("@%s {\"heartbeats\":%lu,\"framesChecked\":%lu,\"framesLost\":%lu,\"framesCorrupt\":%lu,\"interrupts\":%lu,"
	      "\"spurious\":%lu}\n",
	      name, clint_ticks(), reader.checked, reader.lost, reader.corrupt, imsic_taken(), imsic_spurious());
}

static void start_writing(void)
{
	const struct capture_setup setup = { .frames = FRAMES, .frame_size = FRAME_SIZE, .rate = RATE, .irq_every = IRQ_EVERY };

	capture.ring = (const u8 *)(shared.memory + RING);
	capture.index = (volatile u64 *)(shared.memory + INDEX);
	const char *error = capture_start(&capture, setup);

	if (error != NULL) {
		print("%s\n", error);
		power_off(2);
	}
	write32(shared.memory + STARTED, 1);
}

static void stop_writing(void)
{
	capture_stop(&capture);
	write64(shared.memory + ENDED, 1ul << 32 | capture.end);
}

/* The device may write into the slot of frame `next` again as soon as it has written `next` + FRAMES frames. */
static bool is_overwritten(u32 pending) { return pending >= FRAMES; }

static void read_next(void)
{
	u64 slot = RING + (reader.next & (FRAMES - 1)) * FRAME_SIZE;
	const struct frame *frame = (const struct frame *)reader.held;

	for (u32 i = 0; i < FRAME_SIZE / 8; i++)
		reader.held[i] = load(slot + 8 * i);
	if (is_overwritten((u32)load(INDEX) - (u32)reader.next))
		return; /* while it was read: says nothing about the device */
	if (!frame_is_good(frame, FRAME_SIZE) || frame->sequence < reader.sequence) {
		reader.corrupt++;
		reader.sequence++;
	} else {
		reader.checked++;
		reader.lost += frame->sequence - reader.sequence;
		reader.sequence = frame->sequence + 1;
	}
	reader.next++;
}

/* Checks at most BATCH frames that have arrived. True if there was something to do. */
static bool read_frames(void)
{
	u32 pending = (u32)load(INDEX) - (u32)reader.next;

	if (is_overwritten(pending)) {
		u64 skipped = pending - FRAMES + FRAMES / 8;

		reader.lost += skipped;
		reader.next += skipped;
		reader.sequence += skipped;
		return true;
	}
	for (u32 i = 0; i < pending && i < BATCH; i++)
		read_next();
	return pending > 0;
}

static bool all_read(void)
{
	u64 ended = load(ENDED);

	return ended >> 32 != 0 && (u32)reader.next == (u32)ended;
}

/* Reads, unless the writer has not begun. */
static bool serve(void)
{
	if (writes) {
		capture_acknowledge(&capture);
		return false;
	}
	return (u32)load(STARTED) == 1 && read_frames();
}

int main(void)
{
	bool stopping = false, finished = false;
	u64 polled_at = 0;
	const char *error;

	crc32_start();
	imsic_start();
	if (!ivshmem_find(&shared)) {
		print("peer: no device 1af4:1110 found\n");
		power_off(2);
	}
	writes = capture_find(&capture, 1, &error) > 0;
	if (error != NULL) {
		print("%s\n", error);
		power_off(2);
	}
	print("peer: %s memory of 00:%x.%u\n", writes ? "capture writes to" : "reads", shared.pci.slot, shared.pci.function);
	clint_start();
	interrupts_on();
	if (writes)
		start_writing();

	for (;;) {
		bool worked = serve();

		if (clint_ticks() != polled_at) {
			polled_at = clint_ticks();
			switch (console_getc()) {
			case 's':
				report("stats");
				break;
			case 'q':
				if (writes && !stopping)
					stop_writing();
				stopping = true;
				break;
			case 'x':
				power_off(reader.lost | reader.corrupt ? 1 : 0);
			}
		}
		if (stopping && !finished && (writes || all_read())) {
			finished = true;
			report("final");
		}
		if (!worked)
			wait_for_interrupt();
	}
}
