#include "edu.h"

#include "clint.h"
#include "mmio.h"
#include "trap.h"

#define EDU_ID 0x00
#define EDU_LIVENESS 0x04
#define EDU_FACTORIAL 0x08
#define EDU_STATUS 0x20
#define EDU_IRQ_STATUS 0x24
#define EDU_IRQ_ACK 0x64
#define EDU_DMA_SOURCE 0x80
#define EDU_DMA_DESTINATION 0x88
#define EDU_DMA_COUNT 0x90
#define EDU_DMA_COMMAND 0x98

#define ID_VALUE 0x010000edu
#define STATUS_IRQ_ON_FACTORIAL 0x80
#define IRQ_FACTORIAL 0x001
#define IRQ_DMA 0x100
#define DMA_RUN 0x1
#define DMA_DEVICE_TO_RAM 0x2
#define DMA_IRQ 0x4
#define DEVICE_BUFFER 0x40000ul
#define DEVICE_BUFFER_SIZE 4096

/* A device that has raised an interrupt which does not arrive for this long has lost it. */
#define LOST_AFTER_TICKS (3000 / TICK_MS)

static u64 buffers[MAX_EDUS][2][DEVICE_BUFFER_SIZE / 8] __attribute__((section(".bss.rings"), aligned(4096)));

static void take_status(struct edu *edu)
{
	u32 status = read32(edu->pci.bar0 + EDU_IRQ_STATUS);

	if (status == 0) /* one message for two events: the other one has taken both */
		return;
	write32(edu->pci.bar0 + EDU_IRQ_ACK, status);
	edu->events |= status;
}

static void interrupt(void *context) { take_status(context); }

u32 edu_find(struct edu *edus, u32 max, const char **error)
{
	struct pci_device found[MAX_EDUS];
	u32 n = pcie_find(EDU_VENDOR, EDU_DEVICE, found, max < MAX_EDUS ? max : MAX_EDUS);

	*error = NULL;
	for (u32 i = 0; i < n; i++) {
		struct edu *edu = &edus[i];

		*edu = (struct edu){ .pci = found[i], .out = buffers[i][0], .in = buffers[i][1] };
		u64 regs = edu->pci.bar0;

		write32(regs + EDU_LIVENESS, 0x12345678 + i);
		if (read32(regs + EDU_ID) != ID_VALUE)
			*error = "edu: wrong identification";
		else if (read32(regs + EDU_LIVENESS) != ~(0x12345678 + i))
			*error = "edu: liveness check failed";
		else if (!pcie_enable_msi(&edu->pci, imsic_allocate(interrupt, edu)))
			*error = "edu: no MSI capability";
		else
			write32(regs + EDU_STATUS, STATUS_IRQ_ON_FACTORIAL);
	}
	return n;
}

static u32 factorial(u32 n)
{
	u32 product = 1;

	for (u32 i = 2; i <= n; i++)
		product *= i;
	return product;
}

static void start_factorial(struct edu *edu)
{
	edu->n = (edu->n + 7) % 36; /* 0 … 35, beyond 33 the result is 0 */
	edu->computing = true;
	edu->started_at = clint_ticks();
	write32(edu->pci.bar0 + EDU_FACTORIAL, edu->n);
}

/* 8 bytes up to half of the buffer, in turn. (QEMU 7.2 aborts when a transfer ends with the buffer.) */
static u64 round_size(u64 round) { return 8ul << round % 9; }

static u64 pattern(u64 round, u64 word) { return round * 0x9e3779b97f4a7c15ul + word * 0xc2b2ae3d27d4eb4ful; }

static void start_dma(struct edu *edu, u64 source, u64 destination, u32 direction)
{
	u64 regs = edu->pci.bar0;

	edu->started_at = clint_ticks();
	write64(regs + EDU_DMA_SOURCE, source);
	write64(regs + EDU_DMA_DESTINATION, destination);
	write64(regs + EDU_DMA_COUNT, round_size(edu->round));
	write64(regs + EDU_DMA_COMMAND, DMA_RUN | direction | DMA_IRQ);
}

static void start_round_trip(struct edu *edu)
{
	u64 words = round_size(++edu->round) / 8;

	for (u64 i = 0; i < words; i++)
		edu->out[i] = pattern(edu->round, i);
	edu->dma = DMA_TO_DEVICE;
	start_dma(edu, (u64)edu->out, DEVICE_BUFFER, 0);
}

static void finish_round_trip(struct edu *edu)
{
	u64 words = round_size(edu->round) / 8;
	bool same = true;

	for (u64 i = 0; i < words; i++)
		same &= edu->in[i] == pattern(edu->round, i);
	if (same)
		edu->dma_ok++;
	else
		edu->dma_bad++;
	edu->dma = DMA_IDLE;
}

static u32 take_events(struct edu *edu)
{
	interrupts_off();
	if (!edu_idle(edu) && clint_ticks() - edu->started_at > LOST_AFTER_TICKS) {
		u32 before = edu->events;

		take_status(edu);
		if (edu->events != before)
			edu->interrupts_lost++;
		edu->started_at = clint_ticks();
	}
	u32 events = edu->events;

	edu->events = 0;
	interrupts_on();
	return events;
}

bool edu_service(struct edu *edu, bool stopping)
{
	u32 events = take_events(edu);

	if (events & IRQ_FACTORIAL && edu->computing) {
		if (read32(edu->pci.bar0 + EDU_FACTORIAL) == factorial(edu->n))
			edu->factorials_ok++;
		else
			edu->factorials_bad++;
		edu->computing = false;
	}
	if (events & IRQ_DMA && edu->dma == DMA_FROM_DEVICE) {
		fence_read();
		finish_round_trip(edu);
	} else if (events & IRQ_DMA && edu->dma == DMA_TO_DEVICE) {
		edu->dma = DMA_FROM_DEVICE;
		start_dma(edu, DEVICE_BUFFER, (u64)edu->in, DMA_DEVICE_TO_RAM);
	}
	if (!stopping && !edu->computing)
		start_factorial(edu);
	if (!stopping && edu->dma == DMA_IDLE)
		start_round_trip(edu);
	return events != 0;
}

bool edu_idle(const struct edu *edu) { return !edu->computing && edu->dma == DMA_IDLE; }
