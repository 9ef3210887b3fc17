/*
 * A guest on all harts. They count under a spinlock, with LR/SC and with AMOs, and wake each other by IPI.
 * A sum that is wrong ends the machine with status 1. With "forever" on the command line they count and wake for ever; with
 * "bench" they also compute, each for itself.
 */
#include "../lib/console.h"
#include "../lib/csr.h"
#include "../lib/finisher.h"
#include "../lib/mmio.h"

#define MAX_HARTS 8
#define CLINT_MSIP 0x2000000ul
#define CLINT_MTIME 0x200bff8ul
#define IRQ_M_SOFT 3
#define FDT_BEGIN_NODE 1u

#define COUNTS 20000u
#define PINGS 200u
#define WORK 30000000u
#define MEASURED 5u

static u32 harts;
static u32 forever, bench;
static u32 arrived, phase;

static u32 lock;
static volatile u64 under_lock; /* of `lock` */
static u64 by_lr_sc;
static u64 by_amo;
static u32 pings[MAX_HARTS]; /* how often the hart was woken; the hart adds */
static volatile u64 results[MAX_HARTS];

static u32 be32(const volatile u8 *at) { return (u32)at[0] << 24 | (u32)at[1] << 16 | (u32)at[2] << 8 | at[3]; }

static bool is_text(const volatile u8 *at, const char *text)
{
	for (; *text; at++, text++)
		if (*at != (u8)*text)
			return false;
	return true;
}

/* Counts the nodes cpu@…, and looks for the words anywhere in the blob. */
static void read_device_tree(const volatile u8 *blob)
{
	u32 size = be32(blob + 4);

	for (u32 at = 0; at + 12 < size; at += 4)
		if (be32(blob + at) == FDT_BEGIN_NODE && is_text(blob + at + 4, "cpu@"))
			harts++;
	for (u32 at = 0; at + 8 < size; at++) {
		forever |= is_text(blob + at, "forever");
		bench |= is_text(blob + at, "bench");
	}
}

/* All harts come here before one goes on. */
static void meet(void)
{
	u32 before = __atomic_load_n(&phase, __ATOMIC_ACQUIRE);

	if (__atomic_add_fetch(&arrived, 1, __ATOMIC_ACQ_REL) == harts) {
		__atomic_store_n(&arrived, 0, __ATOMIC_RELAXED);
		__atomic_store_n(&phase, before + 1, __ATOMIC_RELEASE);
	} else {
		while (__atomic_load_n(&phase, __ATOMIC_ACQUIRE) == before)
			;
	}
}

static void take_lock(void)
{
	while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE))
		;
}

static void add_lr_sc(u64 *to)
{
	u64 value, failed;

	do {
		__asm__ volatile("lr.d.aqrl %0, (%2)\n\taddi %0, %0, 1\n\tsc.d.rl %1, %0, (%2)"
				 : "=&r"(value), "=&r"(failed)
				 : "r"(to)
				 : "memory");
	} while (failed);
}

static void count(void)
{
	for (u32 i = 0; i < COUNTS; i++) {
		take_lock();
		under_lock = under_lock + 1;
		__atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
		add_lr_sc(&by_lr_sc);
		__atomic_add_fetch(&by_amo, 1, __ATOMIC_RELAXED);
	}
}

static void wait_for_msip(u64 hart)
{
	while (!(csr_read(mip) & 1ul << IRQ_M_SOFT))
		wait_for_interrupt();
	write32(CLINT_MSIP + 4 * hart, 0);
	fence_io();
}

/* Hart 0 wakes each other hart out of WFI and waits for its answer. */
static void wake_all(u64 hart)
{
	for (u32 i = 0; i < PINGS; i++) {
		if (hart == 0) {
			for (u32 to = 1; to < harts; to++) {
				u32 before = __atomic_load_n(&pings[to], __ATOMIC_ACQUIRE);

				write32(CLINT_MSIP + 4 * to, 1);
				while (__atomic_load_n(&pings[to], __ATOMIC_ACQUIRE) == before)
					;
			}
		} else {
			wait_for_msip(hart);
			__atomic_add_fetch(&pings[hart], 1, __ATOMIC_RELEASE);
		}
	}
}

/* Reaches nothing that another hart has. */
static void work(u64 hart)
{
	u64 x = hart + 1;

	for (u32 i = 0; i < WORK; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
	}
	results[hart] = x;
}

static u64 mtime(void) { return *(volatile u64 *)CLINT_MTIME; }

static void check(const char *what, u64 found, u64 wanted)
{
	if (found == wanted)
		return;
	print("@smp %s: %lu, and %lu were counted\n", what, found, wanted);
	power_off(1);
}

/* Every hart has counted and been woken so many times. */
static void check_all(u64 rounds)
{
	check("lock", under_lock, rounds * harts * COUNTS);
	check("lr-sc", by_lr_sc, rounds * harts * COUNTS);
	check("amo", by_amo, rounds * harts * COUNTS);
	for (u32 hart = 1; hart < harts; hart++)
		check("pings", pings[hart], (u32)rounds * PINGS);
}

/*
 * Again and again, because an engine translates what is hot and the first times are slower: the time of one hart's work while the others
 * sleep, and of the work of all side by side.
 */
static void measure(u64 hart)
{
	for (u32 i = 0; i < MEASURED; i++) {
		u64 start, alone = 0;

		meet();
		start = mtime();
		if (hart == 0) {
			work(hart);
			alone = mtime() - start;
			for (u32 to = 1; to < harts; to++)
				write32(CLINT_MSIP + 4 * to, 1);
		} else {
			wait_for_msip(hart);
		}
		meet();
		start = mtime();
		work(hart);
		meet();
		if (hart == 0)
			print("@smp alone %lu together %lu\n", alone, mtime() - start);
	}
	meet();
}

int hart_main(u64 hart, const volatile u8 *device_tree);

int hart_main(u64 hart, const volatile u8 *device_tree)
{
	static u32 ready;

	csr_set(mie, 1ul << IRQ_M_SOFT);
	if (hart == 0) {
		read_device_tree(device_tree);
		print("@smp harts %u\n", harts);
		__atomic_store_n(&ready, 1, __ATOMIC_RELEASE);
	}
	while (!__atomic_load_n(&ready, __ATOMIC_ACQUIRE))
		;
	for (u64 round = 1;; round++) {
		meet();
		count();
		wake_all(hart);
		meet();
		if (hart == round % harts) { /* each has to do with the UART */
			check_all(round);
			print("@smp round %lu\n", round);
		}
		if (!forever)
			break;
	}
	meet();
	if (bench)
		measure(hart);
	while (hart != 0)
		wait_for_interrupt();
	return 0;
}
