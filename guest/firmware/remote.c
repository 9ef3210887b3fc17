/*
 * What harts ask of each other: IPI (SBI 2.0 §7) and RFENCE (§8). A request is a bit in the word of its receiver, and msip tells of
 * it. Whoever waits for fences takes its own requests meanwhile, or two harts could wait for each other for ever.
 */
#include "sbi.h"

#include "csr.h"
#include "mmio.h"

#define CLINT_MSIP 0x2000000ul
#define MIP_SSIP (1ul << 1)

#define REQUEST_IPI 1u
#define REQUEST_FENCE_I 2u
#define REQUEST_SFENCE 4u

/* Senders set bits with or; the receiver clears those that it has done. */
static u32 requests[MAX_HARTS];

void msip(u64 hart, u32 value) { write32(CLINT_MSIP + 4 * hart, value); }

void take_requests(void)
{
	u64 hart = this_hart();

	msip(hart, 0); /* before the word is looked at: what comes later rings again */
	u32 taken = __atomic_load_n(&requests[hart], __ATOMIC_ACQUIRE);

	if (taken & REQUEST_FENCE_I)
		__asm__ volatile("fence.i" ::: "memory");
	if (taken & REQUEST_SFENCE)
		__asm__ volatile("sfence.vma" ::: "memory");
	if (taken & REQUEST_IPI)
		csr_set(mip, MIP_SSIP);
	/* pairs with the load in wait_for: the fences are done */
	__atomic_and_fetch(&requests[hart], ~taken, __ATOMIC_RELEASE);
}

static void wait_for(u64 hart, u32 request)
{
	while (hart_started(hart) && __atomic_load_n(&requests[hart], __ATOMIC_ACQUIRE) & request)
		take_requests();
}

/* SBI 2.0 §3.1: bit i of the mask is hart base + i; base -1 is all harts. */
static bool named(u64 hart, u64 mask, u64 base)
{
	return base == -1ul || (hart >= base && hart - base < 64 && mask >> (hart - base) & 1);
}

static bool all_there(u64 mask, u64 base)
{
	if (base == -1ul)
		return true;
	for (u64 i = 0; i < 64; i++)
		if (mask >> i & 1 && (base + i < base || !hart_exists(base + i)))
			return false;
	return true;
}

static struct sbiret ask(u32 request, u64 mask, u64 base)
{
	u64 self = this_hart();

	if (!all_there(mask, base))
		return sbi_error(SBI_ERR_INVALID_PARAM);
	for (u64 hart = 0; hart < MAX_HARTS; hart++) {
		if (!hart_started(hart) || !named(hart, mask, base))
			continue;
		__atomic_or_fetch(&requests[hart], request, __ATOMIC_RELEASE);
		if (hart == self)
			take_requests();
		else
			msip(hart, 1);
	}
	for (u64 hart = 0; request != REQUEST_IPI && hart < MAX_HARTS; hart++)
		if (hart != self && hart_started(hart) && named(hart, mask, base))
			wait_for(hart, request);
	return sbi_value(0);
}

struct sbiret sbi_ipi(u64 fid, const u64 *a)
{
	return fid == 0 ? ask(REQUEST_IPI, a[0], a[1]) : sbi_error(SBI_ERR_NOT_SUPPORTED);
}

/* Ranges and address spaces are not told apart: a fence of everything covers them. */
struct sbiret sbi_rfence(u64 fid, const u64 *a)
{
	if (fid > 2)
		return sbi_error(SBI_ERR_NOT_SUPPORTED);
	return ask(fid == 0 ? REQUEST_FENCE_I : REQUEST_SFENCE, a[0], a[1]);
}
