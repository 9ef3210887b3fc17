#include "lib/clint.h"
#include "lib/console.h"
#include "lib/csr.h"
#include "lib/edu.h"
#include "lib/imsic.h"
#include "lib/trap.h"

/* Ten factorials and three DMA round trips on every edu device, by interrupt. Exit status 0 if all came out right. */

#define FACTORIALS 10
#define ROUND_TRIPS 3

static struct edu edus[MAX_EDUS];

static bool done(const struct edu *edu)
{
	return edu->factorials_ok + edu->factorials_bad >= FACTORIALS && edu->dma_ok + edu->dma_bad >= ROUND_TRIPS;
}

int main(void)
{
	const char *error;

	imsic_start();
	u32 n = edu_find(edus, MAX_EDUS, &error);

	if (n == 0)
		error = "edu: no device 1234:11e8 found";
	if (error != NULL) {
		print("%s\n", error);
		return 2;
	}
	clint_start();
	interrupts_on();

	bool good = true;

	for (u32 i = 0; i < n; i++) {
		struct edu *edu = &edus[i];

		while (!done(edu) || !edu_idle(edu)) {
			if (edu_service(edu, done(edu)))
				continue;
			interrupts_off(); /* WFI wakes for an interrupt that came since, without it being taken before */
			if (edu->events == 0)
				wait_for_interrupt();
			interrupts_on();
		}
		print("edu 00:%x.%u: factorials %lu ok %lu bad, dma round trips %lu ok %lu bad, interrupts lost %lu\n",
		      edu->pci.slot, edu->pci.function, edu->factorials_ok, edu->factorials_bad, edu->dma_ok,
		      edu->dma_bad, edu->interrupts_lost);
		good &= edu->factorials_bad == 0 && edu->dma_bad == 0 && edu->interrupts_lost == 0;
	}
	return good ? 0 : 1;
}
