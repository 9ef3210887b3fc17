#include "lib/console.h"
#include "lib/csr.h"
#include "lib/imsic.h"
#include "lib/mmio.h"
#include "lib/pcie.h"
#include "lib/sort.h"
#include "lib/trap.h"

/*
 * What a driver waits for, measured by the guest's own clock on the first edu device: a register read and a posted write, the same
 * after the guest and the device have slept, an interrupt while the hart runs and while it sleeps, and a DMA of 4 KiB with its interrupt. If there is a second edu
 * device, its DMA latency must be 1 ms: how much later its interrupt comes, to a hart that has run so long and to one that has slept.
 * Prints microseconds in tenths.
 */

#define EDU_VENDOR 0x1234
#define EDU_DEVICE 0x11e8
#define EDU_ID 0x00
#define EDU_LIVENESS 0x04
#define EDU_IRQ_RAISE 0x60
#define EDU_IRQ_ACK 0x64
#define EDU_DMA_SOURCE 0x80
#define EDU_DMA_DESTINATION 0x88
#define EDU_DMA_COUNT 0x90
#define EDU_DMA_COMMAND 0x98
#define DMA_RUN 0x1
#define DMA_IRQ 0x4
#define DEVICE_BUFFER 0x40000ul

#define MTIME (*(volatile u64 *)0x200bff8ul) /* 10 MHz */
#define MTIMECMP (*(volatile u64 *)0x2004000ul)
#define SETTLE 10000000ul /* a second */
#define ROUNDS 2001
#define WARM_UP 2500 /* until the code that makes an access is compiled */
#define LATE_ROUNDS 401
#define LATE_WARM_UP 50
#define MILLISECOND 10000ul
#define SLEEP (10 * MILLISECOND)

static u64 regs;
static u64 late_regs;
static volatile u64 interrupted_at;
static u32 times[ROUNDS];
static u64 buffer[512] __attribute__((section(".bss.rings"), aligned(4096)));

static void interrupt(void *context)
{
	interrupted_at = MTIME;
	write32(*(u64 *)context + EDU_IRQ_ACK, 0xffffffff);
}

static void measure_rounds(const char *what, u32 (*round)(u32 number), u32 warm_up, u32 rounds)
{
	for (u32 i = 0; i < warm_up; i++)
		round(i);
	for (u32 i = 0; i < rounds; i++)
		times[i] = round(i);
	sort(times, rounds);
	print("@latency %s %u %u\n", what, times[rounds / 2], times[rounds / 100 * 99]);
}

static void measure(const char *what, u32 (*round)(u32 number))
{
	measure_rounds(what, round, WARM_UP, ROUNDS);
}

static u32 clock_round(u32 number)
{
	u64 start = MTIME;

	(void)number;
	return (u32)(MTIME - start);
}

static u32 read_round(u32 number)
{
	u64 start = MTIME;

	(void)number;
	read32(regs + EDU_ID);
	return (u32)(MTIME - start);
}

/* Interrupts are off: the timer ends the sleep and nothing else comes. */
static void sleep_for(u64 ticks)
{
	interrupts_off();
	MTIMECMP = MTIME + ticks;
	csr_set(mie, 1ul << IRQ_M_TIMER);
	while (!(csr_read(mip) & 1ul << IRQ_M_TIMER))
		wait_for_interrupt();
	csr_clear(mie, 1ul << IRQ_M_TIMER);
	interrupts_on();
}

static u32 asleep_round(u32 number)
{
	sleep_for(SLEEP);
	return read_round(number);
}

static u32 write_round(u32 number)
{
	u64 start = MTIME;

	write32(regs + EDU_LIVENESS, number);
	return (u32)(MTIME - start);
}

static u32 asleep_write_round(u32 number)
{
	sleep_for(SLEEP);
	return write_round(number);
}

/* From the store that starts it to the first line of the handler. */
static u32 until_interrupt(bool sleeps, u64 start)
{
	while (interrupted_at == 0) {
		if (!sleeps)
			continue;
		interrupts_off();
		if (interrupted_at == 0)
			wait_for_interrupt();
		interrupts_on();
	}
	return (u32)(interrupted_at - start);
}

static u32 running_round(u32 number)
{
	(void)number;
	interrupted_at = 0;
	u64 start = MTIME;

	write32(regs + EDU_IRQ_RAISE, 1);
	return until_interrupt(false, start);
}

static u32 sleeping_round(u32 number)
{
	(void)number;
	interrupted_at = 0;
	u64 start = MTIME;

	write32(regs + EDU_IRQ_RAISE, 1);
	return until_interrupt(true, start);
}

static u32 dma(u64 device, bool sleeps)
{
	interrupted_at = 0;
	u64 start = MTIME;

	write64(device + EDU_DMA_SOURCE, (u64)buffer);
	write64(device + EDU_DMA_DESTINATION, DEVICE_BUFFER);
	write64(device + EDU_DMA_COUNT, 4088); /* QEMU 7.2 aborts when a transfer ends with the buffer */
	write64(device + EDU_DMA_COMMAND, DMA_RUN | DMA_IRQ);
	return until_interrupt(sleeps, start);
}

static u32 dma_round(u32 number)
{
	(void)number;
	return dma(regs, true);
}

static u32 late_running_round(u32 number)
{
	(void)number;
	return dma(late_regs, false) - MILLISECOND;
}

static u32 late_sleeping_round(u32 number)
{
	(void)number;
	return dma(late_regs, true) - MILLISECOND;
}

static bool open(struct pci_device *edu, u64 *bar)
{
	*bar = edu->bar0;
	return pcie_enable_msi(edu, imsic_allocate(interrupt, bar));
}

int main(void)
{
	struct pci_device edu[2];

	imsic_start();
	u32 found = pcie_find(EDU_VENDOR, EDU_DEVICE, edu, 2);
	if (found == 0 || !open(&edu[0], &regs) || (found > 1 && !open(&edu[1], &late_regs))) {
		print("latency: no device 1234:11e8 found\n");
		return 2;
	}
	interrupts_on();
	for (u64 end = MTIME + SETTLE; MTIME < end;) /* the VMM starts its threads meanwhile */
		;
	measure("clock", clock_round);
	measure("read", read_round);
	measure_rounds("read-asleep", asleep_round, LATE_WARM_UP, LATE_ROUNDS);
	measure("write", write_round);
	measure_rounds("write-asleep", asleep_write_round, LATE_WARM_UP, LATE_ROUNDS);
	measure("msi-running", running_round);
	measure("msi-sleeping", sleeping_round);
	measure("dma", dma_round);
	if (found < 2)
		return 0;
	measure_rounds("late-running", late_running_round, LATE_WARM_UP, LATE_ROUNDS);
	measure_rounds("late-sleeping", late_sleeping_round, LATE_WARM_UP, LATE_ROUNDS);
	return 0;
}
