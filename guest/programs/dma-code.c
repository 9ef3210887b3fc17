#include "lib/console.h"
#include "lib/csr.h"
#include "lib/mmio.h"
#include "lib/pcie.h"

/*
 * A device stores code: edu's DMA puts other functions where 64 functions are that have been called so often that a translator has
 * translated each. After FENCE.I the new ones run. Prints how many calls gave what the new function gives.
 */

#define EDU_VENDOR 0x1234
#define EDU_DEVICE 0x11e8
#define EDU_DMA_SOURCE 0x80
#define EDU_DMA_DESTINATION 0x88
#define EDU_DMA_COUNT 0x90
#define EDU_DMA_COMMAND 0x98
#define DMA_RUN 0x1
#define DMA_FROM_DEVICE 0x2
#define DEVICE_BUFFER 0x40000ul

#define FUNCTIONS 64
#define ROUNDS 8
#define CALLS 4000

static u32 code[FUNCTIONS][2] __attribute__((aligned(4096)));
static u32 next[FUNCTIONS][2] __attribute__((aligned(4096)));

static u64 value(u32 function, u32 round) { return function * 16 + round; }

static void write_functions(u32 (*to)[2], u32 round)
{
	for (u32 i = 0; i < FUNCTIONS; i++) {
		to[i][0] = 0x00000513 | (u32)value(i, round) << 20; /* li a0, value */
		to[i][1] = 0x00008067;                              /* ret */
	}
}

static void dma(u64 regs, u64 source, u64 destination, u32 command)
{
	write64(regs + EDU_DMA_SOURCE, source);
	write64(regs + EDU_DMA_DESTINATION, destination);
	write64(regs + EDU_DMA_COUNT, sizeof(code));
	write64(regs + EDU_DMA_COMMAND, command | DMA_RUN);
	while (read32(regs + EDU_DMA_COMMAND) & DMA_RUN)
		;
}

int main(void)
{
	struct pci_device edu;
	u64 good = 0, bad = 0;

	if (pcie_find(EDU_VENDOR, EDU_DEVICE, &edu, 1) == 0) {
		print("dma-code: no device 1234:11e8 found\n");
		return 2;
	}
	write_functions(code, 0);
	__asm__ volatile("fence.i" ::: "memory");
	for (u32 round = 0; round < ROUNDS; round++) {
		for (u32 n = 0; n < CALLS; n++)
			for (u32 i = 0; i < FUNCTIONS; i++) {
				if (((u64 (*)(void))(u64)code[i])() == value(i, round))
					good++;
				else
					bad++;
			}
		write_functions(next, round + 1);
		dma(edu.bar0, (u64)next, DEVICE_BUFFER, 0);
		dma(edu.bar0, DEVICE_BUFFER, (u64)code, DMA_FROM_DEVICE);
		__asm__ volatile("fence.i" ::: "memory");
	}
	print("@dma-code good %lu bad %lu\n", good, bad);
	return bad == 0 ? 0 : 1;
}
