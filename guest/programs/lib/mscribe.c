#include "mscribe.h"

#include "clint.h"
#include "mmio.h"
#include "trap.h"

#define REG_ID 0x00
#define REG_CONTROL 0x04
#define REG_CAUSE 0x0c
#define REG_RING_LO 0x10
#define REG_RING_HI 0x14
#define REG_RING_SIZE 0x18
#define REG_HEAD 0x1c
#define REG_TAIL 0x20

#define ID_VALUE 0x5c1b0001u
#define CONTROL_ENABLE 0x1
#define CONTROL_RESET 0x2
#define CAUSE_JOB 0x1
#define OP_COPY 1
#define OP_FILL 2
#define JOB_IRQ 0x100
#define STATUS_DONE 1

#define RING_SIZE 128
#define MAX_WORDS 128 /* 1 KiB */

/* A device that has ended jobs and from which no interrupt comes for this long has lost it. */
#define LOST_AFTER_TICKS (3000 / TICK_MS)

struct descriptor {
	u32 command;
	u32 length;
	u64 source; /* or, of a fill, 8 bytes to repeat */
	u64 destination;
	u32 written;
	volatile u32 status;
};

struct mscribe_memory {
	struct descriptor ring[RING_SIZE];
	u64 source[RING_SIZE][MAX_WORDS];
	u64 destination[RING_SIZE][MAX_WORDS];
};

static struct mscribe_memory memories[MAX_MSCRIBES] __attribute__((section(".bss.rings"), aligned(4096)));

static void interrupt(void *context)
{
	struct mscribe *mscribe = context;

	write32(mscribe->pci.bar0 + REG_CAUSE, CAUSE_JOB);
	mscribe->interrupted = true;
}

u32 mscribe_find(struct mscribe *mscribes, u32 max, const char **error)
{
	struct pci_device found[MAX_MSCRIBES];
	u32 n = pcie_find(MSCRIBE_VENDOR, MSCRIBE_DEVICE, found, max < MAX_MSCRIBES ? max : MAX_MSCRIBES);

	*error = NULL;
	for (u32 i = 0; i < n; i++) {
		struct mscribe *mscribe = &mscribes[i];
		u64 regs = found[i].bar0;
		u64 ring = (u64)memories[i].ring;

		*mscribe = (struct mscribe){ .pci = found[i], .memory = &memories[i] };
		if (read32(regs + REG_ID) != ID_VALUE)
			*error = "mscribe: wrong identification";
		else if (!pcie_enable_msi(&mscribe->pci, imsic_allocate(interrupt, mscribe)))
			*error = "mscribe: no MSI capability";
		write32(regs + REG_CONTROL, CONTROL_RESET);
		write32(regs + REG_RING_LO, (u32)ring);
		write32(regs + REG_RING_HI, (u32)(ring >> 32));
		write32(regs + REG_RING_SIZE, RING_SIZE);
		write32(regs + REG_CONTROL, CONTROL_ENABLE);
	}
	return n;
}

/* 8 bytes up to all of the buffer, in turn. */
static u32 job_words(u32 job) { return 1u << job / 2 % 8; }

static bool is_fill(u32 job) { return job & 1; }

static u64 pattern(u32 job, u32 word)
{
	if (is_fill(job))
		word = 0;
	return (job + 1ul) * 0x9e3779b97f4a7c15ul + word * 0xc2b2ae3d27d4eb4ful;
}

static void submit(struct mscribe *mscribe)
{
	u32 job = mscribe->submitted++;
	u32 slot = job % RING_SIZE;
	u32 words = job_words(job);
	struct mscribe_memory *memory = mscribe->memory;
	struct descriptor *descriptor = &memory->ring[slot];

	for (u32 i = 0; i < words && !is_fill(job); i++)
		memory->source[slot][i] = pattern(job, i);
	descriptor->command = (is_fill(job) ? OP_FILL : OP_COPY) | JOB_IRQ;
	descriptor->length = words * 8;
	descriptor->source = is_fill(job) ? pattern(job, 0) : (u64)memory->source[slot];
	descriptor->destination = (u64)memory->destination[slot];
	descriptor->written = 0;
	descriptor->status = 0;
}

static bool is_right(const struct mscribe_memory *memory, u32 job)
{
	u32 slot = job % RING_SIZE;
	u32 words = job_words(job);
	bool right = memory->ring[slot].status == STATUS_DONE && memory->ring[slot].written == words * 8;

	for (u32 i = 0; i < words; i++)
		right &= memory->destination[slot][i] == pattern(job, i);
	return right;
}

/* Whether there may be jobs that have ended: an interrupt says so, or should have. */
static bool take_interrupt(struct mscribe *mscribe)
{
	interrupts_off();
	bool interrupted = mscribe->interrupted;

	mscribe->interrupted = false;
	if (!interrupted && !mscribe_idle(mscribe) && clint_ticks() - mscribe->progress_at > LOST_AFTER_TICKS) {
		interrupted = read32(mscribe->pci.bar0 + REG_HEAD) != mscribe->checked;
		mscribe->interrupts_lost += interrupted;
		mscribe->progress_at = clint_ticks();
	}
	interrupts_on();
	return interrupted;
}

static void check_ended(struct mscribe *mscribe)
{
	const struct mscribe_memory *memory = mscribe->memory;

	while (!mscribe_idle(mscribe) && memory->ring[mscribe->checked % RING_SIZE].status != 0) {
		fence_read();
		if (is_right(memory, mscribe->checked))
			mscribe->ok++;
		else
			mscribe->bad++;
		mscribe->checked++;
		mscribe->progress_at = clint_ticks();
	}
}

bool mscribe_service(struct mscribe *mscribe, bool stopping)
{
	bool interrupted = take_interrupt(mscribe);
	u32 before = mscribe->submitted;

	if (interrupted)
		check_ended(mscribe);
	while (!stopping && mscribe->submitted - mscribe->checked < RING_SIZE)
		submit(mscribe);
	if (mscribe->submitted != before)
		write32(mscribe->pci.bar0 + REG_TAIL, mscribe->submitted);
	return interrupted;
}

bool mscribe_idle(const struct mscribe *mscribe) { return mscribe->checked == mscribe->submitted; }
