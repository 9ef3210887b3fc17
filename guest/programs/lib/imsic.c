#include "imsic.h"

#include "console.h"
#include "csr.h"
#include "finisher.h"

#define IMSIC_M 0x24000000ul /* seteipnum_le of hart 0 */

#define EIDELIVERY 0x70
#define EITHRESHOLD 0x72
#define EIE0 0xc0

static struct {
	msi_handler handler;
	void *context;
} handlers[IMSIC_IDENTITIES];

static u32 allocated;
static volatile u64 taken, spurious;

void imsic_start(void)
{
	csr_write(CSR_MISELECT, EITHRESHOLD);
	csr_write(CSR_MIREG, 0); /* no threshold */
	csr_write(CSR_MISELECT, EIDELIVERY);
	csr_write(CSR_MIREG, 1);
	csr_set(mie, 1ul << IRQ_M_EXT);
}

struct msi imsic_allocate(msi_handler handler, void *context)
{
	u32 identity = ++allocated;

	if (identity >= IMSIC_IDENTITIES) {
		print("imsic: out of interrupt identities\n");
		power_off(1);
	}
	handlers[identity].context = context;
	handlers[identity].handler = handler;
	csr_write(CSR_MISELECT, EIE0);
	csr_set(CSR_MIREG, 1ul << identity);
	return (struct msi){ .gpa = IMSIC_M, .data = identity };
}

/* A claim clears the pending bit before the handler looks at the device: what comes after is a new interrupt. */
void imsic_interrupt(void)
{
	for (;;) {
		u64 top;

		__asm__ volatile("csrrw %0, " CSR_NAME(CSR_MTOPEI) ", zero" : "=r"(top)::"memory");
		u32 identity = (u32)(top >> 16);

		if (identity == 0)
			return;
		taken = taken + 1;
		if (identity < IMSIC_IDENTITIES && handlers[identity].handler != NULL)
			handlers[identity].handler(handlers[identity].context);
		else
			spurious = spurious + 1;
	}
}

u64 imsic_taken(void) { return taken; }
u64 imsic_spurious(void) { return spurious; }
