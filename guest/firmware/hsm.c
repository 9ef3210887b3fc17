/* Hart State Management (SBI 2.0 §9). A hart that is stopped waits in M mode for its msip. */
#include "sbi.h"

#include "csr.h"

enum { STARTED, STOPPED, START_PENDING, STOP_PENDING };

#define RETENTIVE_SUSPEND 0

/* Written by the hart itself, except from STOPPED to START_PENDING, which its starter does. */
struct hart {
	u64 state; /* STARTED in .bss: a hart that has not come is not there */
	u64 present;
	u64 address;
	u64 opaque;
};
static struct hart harts[MAX_HARTS];

u64 this_hart(void) { return csr_read(mhartid); }

bool hart_exists(u64 hart)
{
	return hart < MAX_HARTS && __atomic_load_n(&harts[hart].present, __ATOMIC_ACQUIRE);
}

bool hart_started(u64 hart)
{
	return hart_exists(hart) && __atomic_load_n(&harts[hart].state, __ATOMIC_ACQUIRE) != STOPPED;
}

void hart_is_first(void)
{
	struct hart *hart = &harts[this_hart()];

	hart->state = STARTED;
	__atomic_store_n(&hart->present, 1, __ATOMIC_RELEASE);
}

void hart_wait(void)
{
	struct hart *hart = &harts[this_hart()];

	prepare_hart();
	__atomic_store_n(&hart->state, STOPPED, __ATOMIC_RELEASE);
	__atomic_store_n(&hart->present, 1, __ATOMIC_RELEASE);
	while (__atomic_load_n(&hart->state, __ATOMIC_ACQUIRE) != START_PENDING) {
		wait_for_interrupt(); /* msip of the starter ends it */
		msip(this_hart(), 0);
	}
	hart->state = STARTED;
	enter_supervisor(this_hart(), hart->opaque, hart->address);
}

static struct sbiret start(u64 id, u64 address, u64 opaque)
{
	if (!hart_exists(id))
		return sbi_error(SBI_ERR_INVALID_PARAM);
	struct hart *hart = &harts[id];

	if (__atomic_load_n(&hart->state, __ATOMIC_ACQUIRE) != STOPPED)
		return sbi_error(SBI_ERR_ALREADY_AVAILABLE);
	if (address < FIRMWARE + FIRMWARE_SIZE)
		return sbi_error(SBI_ERR_INVALID_ADDRESS);
	hart->address = address;
	hart->opaque = opaque;
	u64 stopped = STOPPED;

	if (!__atomic_compare_exchange_n(&hart->state, &stopped, START_PENDING, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return sbi_error(SBI_ERR_ALREADY_AVAILABLE);
	msip(id, 1);
	return sbi_value(0);
}

struct sbiret sbi_hsm(u64 fid, const u64 *a)
{
	switch (fid) {
	case 0: return start(a[0], a[1], a[2]);
	case 1: hart_restart(this_hart());
	case 2:
		if (!hart_exists(a[0]))
			return sbi_error(SBI_ERR_INVALID_PARAM);
		return sbi_value((long)__atomic_load_n(&harts[a[0]].state, __ATOMIC_ACQUIRE));
	case 3:
		if ((u32)a[0] != RETENTIVE_SUSPEND)
			return sbi_error(SBI_ERR_NOT_SUPPORTED);
		wait_for_interrupt(); /* an interrupt for S mode ends it, too: mie has those of sie */
		return sbi_value(0);
	default: return sbi_error(SBI_ERR_NOT_SUPPORTED);
	}
}
