#include "lib/capture.h"

#include "lib/clint.h"
#include "lib/console.h"
#include "lib/crc32.h"
#include "lib/csr.h"
#include "lib/imsic.h"
#include "lib/trap.h"

/* 256 frames from every capture device, all running at once. Exit status 0 if every frame came and was right. */

#define FRAMES 256

static struct capture captures[MAX_CAPTURES];

static bool done(const struct capture *capture)
{
	return capture->checked + capture->lost + capture->corrupt >= FRAMES;
}

int main(void)
{
	const struct capture_setup setup = { .frames = 1024, .frame_size = 1024, .rate = 500, .irq_every = 16 };
	const char *error;

	crc32_start();
	imsic_start();
	u32 n = capture_find(captures, MAX_CAPTURES, &error);

	if (n == 0)
		error = "capture: no device 1234:ca97 found";
	for (u32 i = 0; i < n && error == NULL; i++)
		error = capture_start(&captures[i], setup);
	if (error != NULL) {
		print("%s\n", error);
		return 2;
	}
	clint_start(); /* ticks look at the rings even if no interrupt comes */
	interrupts_on();

	for (u32 finished = 0; finished < n;) {
		bool worked = false;

		finished = 0;
		for (u32 i = 0; i < n; i++) {
			worked |= capture_service(&captures[i], 16);
			finished += done(&captures[i]);
		}
		if (!worked)
			wait_for_interrupt();
	}

	bool good = true;

	for (u32 i = 0; i < n; i++) {
		struct capture *capture = &captures[i];

		capture_stop(capture);
		while (!capture_drained(capture))
			capture_service(capture, 16);
		print("capture 00:%x.%u: frames %lu checked %lu lost %lu corrupt\n", capture->pci.slot,
		      capture->pci.function, capture->checked, capture->lost, capture->corrupt);
		good &= capture->lost == 0 && capture->corrupt == 0;
	}
	print("interrupts %lu spurious %lu\n", imsic_taken(), imsic_spurious());
	return good && imsic_taken() > 0 ? 0 : 1;
}
