#include "plic.h"

#include "csr.h"
#include "mmio.h"

#define PLIC 0xc000000ul
#define ENABLE (PLIC + 0x2000)
#define CLAIM (PLIC + 0x200004)

void plic_enable(u32 source)
{
	u64 word = ENABLE + 4 * (source / 32);

	write32(PLIC + 4 * source, 1); /* priority */
	write32(word, read32(word) | 1u << (source % 32));
	csr_set(mie, 1ul << IRQ_M_EXT);
}

u32 plic_claim(void) { return read32(CLAIM); }
void plic_complete(u32 source) { write32(CLAIM, source); }
