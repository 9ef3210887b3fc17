#include "trap.h"

#include "clint.h"
#include "console.h"
#include "csr.h"
#include "finisher.h"
#include "imsic.h"

#define CAUSE_INTERRUPT (1ul << 63)

void __attribute__((interrupt("machine"), aligned(4))) trap_entry(void)
{
	u64 cause = csr_read(mcause);

	if (cause == (CAUSE_INTERRUPT | IRQ_M_EXT)) {
		imsic_interrupt();
	} else if (cause == (CAUSE_INTERRUPT | IRQ_M_TIMER)) {
		clint_interrupt();
	} else {
		print("trap: mcause %lx mepc %lx mtval %lx\n", cause, csr_read(mepc), csr_read(mtval));
		power_off(TRAP_EXIT_STATUS);
	}
}

void interrupts_on(void) { csr_set(mstatus, MSTATUS_MIE); }
void interrupts_off(void) { csr_clear(mstatus, MSTATUS_MIE); }
