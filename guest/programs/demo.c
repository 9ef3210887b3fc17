#include "lib/capture.h"
#include "lib/clint.h"
#include "lib/console.h"
#include "lib/crc32.h"
#include "lib/csr.h"
#include "lib/edu.h"
#include "lib/finisher.h"
#include "lib/imsic.h"
#include "lib/mscribe.h"
#include "lib/trap.h"

/*
 * Gives every edu, capture and mscribe device work at all times and checks all they do, until told otherwise on the console:
 *   s  prints a line `@stats {json}`
 *   q  stops the devices, checks what is still in the rings, prints a line `@final {json}`
 *   x  powers off: status 0 if nothing was lost or wrong, else 1
 */

/* Frames of one device checked before the others get a turn. */
#define BATCH 16

/* 1 MiB for sixteen seconds of frames: a pause of fifteen seconds loses nothing. */
static const struct capture_setup CAPTURE_SETUP = { .frames = 4096, .frame_size = 256, .rate = 250, .irq_every = 16 };

/* An edu that has begun so many factorials and transfers in a tick rests until the next, so that the guest leaves the CPU to others, too. */
#define EDU_STARTS_PER_TICK 16

static struct edu edus[MAX_EDUS];
static struct capture captures[MAX_CAPTURES];
static struct mscribe mscribes[MAX_MSCRIBES];
static u32 nr_edus, nr_captures, nr_mscribes;

struct totals {
	u64 factorials_ok, factorials_bad, dma_ok, dma_bad, interrupts_lost;
	u64 frames_checked, frames_lost, frames_corrupt, frames_pending;
	u64 mscribe_ok, mscribe_bad;
};

static struct totals sum(void)
{
	struct totals t = { 0 };

	for (u32 i = 0; i < nr_edus; i++) {
		t.factorials_ok += edus[i].factorials_ok;
		t.factorials_bad += edus[i].factorials_bad;
		t.dma_ok += edus[i].dma_ok;
		t.dma_bad += edus[i].dma_bad;
		t.interrupts_lost += edus[i].interrupts_lost;
	}
	for (u32 i = 0; i < nr_captures; i++) {
		t.frames_checked += captures[i].checked;
		t.frames_lost += captures[i].lost;
		t.frames_corrupt += captures[i].corrupt;
		t.frames_pending += capture_pending(&captures[i]);
	}
	for (u32 i = 0; i < nr_mscribes; i++) {
		t.mscribe_ok += mscribes[i].ok;
		t.mscribe_bad += mscribes[i].bad;
		t.interrupts_lost += mscribes[i].interrupts_lost;
	}
	return t;
}

static void report(const char *name)
{
	struct totals t = sum();

	print("@%s {\"heartbeats\":%lu,\"factorialsOk\":%lu,\"factorialsBad\":%lu,\"dmaRoundTripsOk\":%lu,"
	      "\"dmaRoundTripsBad\":%lu,\"framesChecked\":%lu,\"framesLost\":%lu,\"framesCorrupt\":%lu,"
	      "\"framesPending\":%lu,\"mscribeOk\":%lu,\"mscribeBad\":%lu,\"interrupts\":%lu,\"spurious\":%lu,\"interruptsLost\":%lu,"
	      "\"captures\":%u,\"edus\":%u,\"mscribes\":%u}\n",
	      name, clint_ticks(), t.factorials_ok, t.factorials_bad, t.dma_ok, t.dma_bad, t.frames_checked,
	      t.frames_lost, t.frames_corrupt, t.frames_pending, t.mscribe_ok, t.mscribe_bad, imsic_taken(), imsic_spurious(), t.interrupts_lost,
	      nr_captures, nr_edus, nr_mscribes);
}

static int exit_status(void)
{
	struct totals t = sum();

	return t.factorials_bad | t.dma_bad | t.mscribe_bad | t.interrupts_lost | t.frames_lost | t.frames_corrupt ? 1 : 0;
}

static void announce(void)
{
	print("demo: %u edu, %u capture, %u mscribe:", nr_edus, nr_captures, nr_mscribes);
	for (u32 i = 0; i < nr_edus; i++)
		print(" 00:%x.%u", edus[i].pci.slot, edus[i].pci.function);
	for (u32 i = 0; i < nr_captures; i++)
		print(" 00:%x.%u", captures[i].pci.slot, captures[i].pci.function);
	for (u32 i = 0; i < nr_mscribes; i++)
		print(" 00:%x.%u", mscribes[i].pci.slot, mscribes[i].pci.function);
	print("\n");
}

/* Power off on an error of set-up, status 2. */
static void require(const char *error)
{
	if (error == NULL)
		return;
	print("%s\n", error);
	power_off(2);
}

struct pace {
	u64 tick;
	u64 begun; /* before that tick */
};

static struct pace paces[MAX_EDUS];

/* It has begun enough in this tick. */
static bool edu_rests(const struct edu *edu, struct pace *pace)
{
	u64 begun = edu->factorials_ok + edu->factorials_bad + edu->round;

	if (pace->tick != clint_ticks())
		*pace = (struct pace){ .tick = clint_ticks(), .begun = begun };
	return begun - pace->begun >= EDU_STARTS_PER_TICK;
}

static bool service_devices(bool stopping)
{
	bool worked = false;

	for (u32 i = 0; i < nr_captures; i++)
		worked |= capture_service(&captures[i], BATCH);
	for (u32 i = 0; i < nr_edus; i++)
		worked |= edu_service(&edus[i], stopping || edu_rests(&edus[i], &paces[i]));
	for (u32 i = 0; i < nr_mscribes; i++)
		worked |= mscribe_service(&mscribes[i], stopping);
	return worked;
}

static bool all_quiet(void)
{
	bool quiet = true;

	for (u32 i = 0; i < nr_edus; i++)
		quiet &= edu_idle(&edus[i]);
	for (u32 i = 0; i < nr_captures; i++)
		quiet &= capture_drained(&captures[i]);
	for (u32 i = 0; i < nr_mscribes; i++)
		quiet &= mscribe_idle(&mscribes[i]);
	return quiet;
}

/* Sleeps unless an interrupt has left work behind since the devices were serviced. */
static void sleep_until_interrupt(void)
{
	bool work = false;

	interrupts_off();
	for (u32 i = 0; i < nr_edus; i++)
		work |= edus[i].events != 0;
	for (u32 i = 0; i < nr_captures; i++)
		work |= captures[i].interrupted;
	for (u32 i = 0; i < nr_mscribes; i++)
		work |= mscribes[i].interrupted;
	if (!work)
		wait_for_interrupt(); /* also woken with interrupts off; taken when they are on again */
	interrupts_on();
}

int main(void)
{
	const char *error;
	bool stopping = false, finished = false;
	u64 polled_at = 0;

	crc32_start();
	imsic_start();
	nr_edus = edu_find(edus, MAX_EDUS, &error);
	require(error);
	nr_captures = capture_find(captures, MAX_CAPTURES, &error);
	require(error);
	nr_mscribes = mscribe_find(mscribes, MAX_MSCRIBES, &error);
	require(error);
	announce();
	clint_start();
	interrupts_on();
	for (u32 i = 0; i < nr_captures; i++)
		require(capture_start(&captures[i], CAPTURE_SETUP));

	for (;;) {
		bool worked = service_devices(stopping);

		if (clint_ticks() != polled_at) {
			polled_at = clint_ticks();
			switch (console_getc()) {
			case 's':
				report("stats");
				break;
			case 'q':
				for (u32 i = 0; i < nr_captures && !stopping; i++)
					capture_stop(&captures[i]);
				stopping = true;
				break;
			case 'x':
				power_off(exit_status());
			}
		}
		if (stopping && !finished && all_quiet()) {
			finished = true;
			report("final");
		}
		if (!worked)
			sleep_until_interrupt();
	}
}
