#include "clint.h"

#include "csr.h"
#include "mmio.h"

#define CLINT_MTIMECMP 0x2004000ul
#define CLINT_MTIME 0x200bff8ul
#define MTIME_PER_TICK (10000000ul * TICK_MS / 1000)

static u64 next_tick;
static volatile u64 ticks;

static u64 mtime(void) { return *(volatile u64 *)CLINT_MTIME; }

void clint_start(void)
{
	next_tick = mtime() + MTIME_PER_TICK;
	write64(CLINT_MTIMECMP, next_tick);
	csr_set(mie, 1ul << IRQ_M_TIMER);
}

/* After a pause the missed ticks are left out: one tick now, the next one a full tick later. */
void clint_interrupt(void)
{
	u64 now = mtime();

	ticks = ticks + 1;
	next_tick += MTIME_PER_TICK;
	if (next_tick <= now)
		next_tick = now + MTIME_PER_TICK;
	write64(CLINT_MTIMECMP, next_tick);
}

u64 clint_ticks(void) { return ticks; }
