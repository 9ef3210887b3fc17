/*
 * The least of PMU (SBI 2.0 §11): the counters that every hart has, cycle (0) and instret (2). They run always; number 1 is none.
 */
#include "sbi.h"

#include "csr.h"

#define COUNTERS 3
#define CYCLE 0
#define INSTRET 2
#define EVENT_CPU_CYCLES 1
#define EVENT_INSTRUCTIONS 2
#define WIDTH_64 (63l << 12)
#define CSR_CYCLE 0xc00
#define FLAG_SKIP_MATCH 1
#define FLAG_CLEAR_VALUE 2
#define START_SET_VALUE 1

static bool exists(u64 counter) { return counter == CYCLE || counter == INSTRET; }

static bool in_mask(u64 counter, u64 base, u64 mask)
{
	return counter >= base && counter - base < 64 && mask >> (counter - base) & 1;
}

static void set_counter(u64 counter, u64 value)
{
	if (counter == CYCLE)
		csr_write(mcycle, value);
	else
		csr_write(minstret, value);
}

static struct sbiret match(u64 base, u64 mask, u64 flags, u64 event)
{
	u64 counter = event == EVENT_CPU_CYCLES ? CYCLE : event == EVENT_INSTRUCTIONS ? INSTRET : COUNTERS;

	if (flags & FLAG_SKIP_MATCH)
		counter = in_mask(CYCLE, base, mask) ? CYCLE : INSTRET;
	if (!exists(counter) || !in_mask(counter, base, mask))
		return sbi_error(SBI_ERR_NOT_SUPPORTED);
	if (flags & FLAG_CLEAR_VALUE)
		set_counter(counter, 0);
	return sbi_value((long)counter);
}

static struct sbiret start(u64 base, u64 mask, u64 flags, u64 value)
{
	for (u64 counter = 0; counter < COUNTERS; counter++)
		if (exists(counter) && in_mask(counter, base, mask) && flags & START_SET_VALUE)
			set_counter(counter, value);
	return sbi_value(0);
}

struct sbiret sbi_pmu(u64 fid, const u64 *a)
{
	switch (fid) {
	case 0: return sbi_value(COUNTERS);
	case 1: return exists(a[0]) ? sbi_value(WIDTH_64 | (CSR_CYCLE + (long)a[0])) : sbi_error(SBI_ERR_INVALID_PARAM);
	case 2: return match(a[0], a[1], a[2], a[3]);
	case 3: return start(a[0], a[1], a[2], a[3]);
	case 4: return sbi_value(0); /* stop: nobody looks at the value meanwhile */
	default: return sbi_error(SBI_ERR_NOT_SUPPORTED);
	}
}
