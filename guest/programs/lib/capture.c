#include "capture.h"

#include "frame.h"
#include "mmio.h"

#define CAPTURE_ID 0x00
#define CAPTURE_CTRL 0x04
#define CAPTURE_STATUS 0x08
#define CAPTURE_IRQ_STATUS 0x0c
#define CAPTURE_RING_LO 0x10
#define CAPTURE_RING_HI 0x14
#define CAPTURE_FRAMES 0x18
#define CAPTURE_FRAME_SIZE 0x1c
#define CAPTURE_RATE 0x20
#define CAPTURE_IRQ_EVERY 0x24
#define CAPTURE_WRITE_INDEX 0x28
#define CAPTURE_READ_INDEX 0x2c
#define CAPTURE_INDEX_LO 0x38
#define CAPTURE_INDEX_HI 0x3c

#define ID_VALUE 0xca970100u
#define CTRL_RUN 0x1u
#define CTRL_IRQ_ENABLE 0x4u
#define CTRL_RESET 0x80000000u
#define STATUS_RUNNING 0x1u
#define STATUS_FAULT 0x4u
#define IRQ_ALL 0x7u

static u8 rings[MAX_CAPTURES][CAPTURE_RING_SIZE] __attribute__((section(".bss.rings"), aligned(4096)));
static volatile u64 indices[MAX_CAPTURES];

static void interrupt(void *context)
{
	struct capture *capture = context;

	capture->interrupted = true;
}

u32 capture_find(struct capture *captures, u32 max, const char **error)
{
	struct pci_device found[MAX_CAPTURES];
	u32 n = pcie_find(CAPTURE_VENDOR, CAPTURE_DEVICE, found, max < MAX_CAPTURES ? max : MAX_CAPTURES);

	*error = NULL;
	for (u32 i = 0; i < n; i++) {
		captures[i] = (struct capture){ .pci = found[i], .ring = rings[i], .index = &indices[i] };
		if (read32(captures[i].pci.bar0 + CAPTURE_ID) != ID_VALUE)
			*error = "capture: wrong identification";
		else if (!pcie_enable_msi(&captures[i].pci, imsic_allocate(interrupt, &captures[i])))
			*error = "capture: no MSI capability";
	}
	return n;
}

const char *capture_start(struct capture *capture, struct capture_setup setup)
{
	u64 regs = capture->pci.bar0;

	capture->setup = setup;
	capture->stopped = false;
	capture->next = 0;
	capture->sequence = 0;
	*capture->index = 0;
	write32(regs + CAPTURE_CTRL, CTRL_RESET);
	write32(regs + CAPTURE_RING_LO, (u32)(u64)capture->ring);
	write32(regs + CAPTURE_RING_HI, (u32)((u64)capture->ring >> 32));
	write32(regs + CAPTURE_FRAMES, setup.frames);
	write32(regs + CAPTURE_FRAME_SIZE, setup.frame_size);
	write32(regs + CAPTURE_RATE, setup.rate);
	write32(regs + CAPTURE_IRQ_EVERY, setup.irq_every);
	write32(regs + CAPTURE_INDEX_LO, (u32)(u64)capture->index);
	write32(regs + CAPTURE_INDEX_HI, (u32)((u64)capture->index >> 32));
	write32(regs + CAPTURE_CTRL, CTRL_RUN | CTRL_IRQ_ENABLE);
	return read32(regs + CAPTURE_STATUS) & STATUS_FAULT ? "capture: the device refuses its ring" : NULL;
}

/* Frames written so far (mod 2^32). What was written before is visible after this. */
static u32 frames_written(const struct capture *capture)
{
	u32 written = capture->stopped ? capture->end : (u32)*capture->index;

	fence_read();
	return written;
}

u32 capture_pending(const struct capture *capture) { return frames_written(capture) - (u32)capture->next; }

/*
 * The slot of frame `next` is being overwritten, or will be, once the device has written `next + frames`. Then go on with one
 * that it reaches only later; what is skipped is lost.
 */
static void skip_overwritten(struct capture *capture, u32 pending)
{
	u64 skipped = pending - capture->setup.frames + capture->setup.frames / 8;

	capture->lost += skipped;
	capture->next += skipped;
	capture->sequence += skipped;
}

static void check_next(struct capture *capture)
{
	const struct capture_setup *setup = &capture->setup;
	const struct frame *frame =
		(const struct frame *)(capture->ring + (capture->next & (setup->frames - 1)) * setup->frame_size);
	bool good = frame_is_good(frame, setup->frame_size);
	u64 sequence = frame->sequence;
	u32 pending = frames_written(capture) - (u32)capture->next;

	if (!capture->stopped && pending >= setup->frames)
		return; /* overwritten while it was read: says nothing about the device */
	if (!good || sequence < capture->sequence) {
		capture->corrupt++;
		capture->sequence++;
	} else {
		capture->checked++;
		capture->lost += sequence - capture->sequence;
		capture->sequence = sequence + 1;
	}
	capture->next++;
}

void capture_acknowledge(struct capture *capture)
{
	if (!capture->interrupted)
		return;
	capture->interrupted = false;
	write32(capture->pci.bar0 + CAPTURE_IRQ_STATUS, IRQ_ALL);
}

bool capture_service(struct capture *capture, u32 max)
{
	capture_acknowledge(capture);
	u64 before = capture->next;

	while (capture->next - before < max) {
		u32 pending = frames_written(capture) - (u32)capture->next;

		if (pending == 0)
			break;
		if (pending > capture->setup.frames || (pending == capture->setup.frames && !capture->stopped))
			skip_overwritten(capture, pending);
		else
			check_next(capture);
	}
	if (capture->next == before)
		return false;
	write32(capture->pci.bar0 + CAPTURE_READ_INDEX, (u32)capture->next);
	return true;
}

void capture_stop(struct capture *capture)
{
	u64 regs = capture->pci.bar0;

	write32(regs + CAPTURE_CTRL, 0);
	while (read32(regs + CAPTURE_STATUS) & STATUS_RUNNING)
		;
	capture->end = read32(regs + CAPTURE_WRITE_INDEX);
	capture->stopped = true;
}

bool capture_drained(const struct capture *capture) { return capture->stopped && (u32)capture->next == capture->end; }
