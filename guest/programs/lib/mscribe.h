#ifndef MSCRIBE_H
#define MSCRIBE_H

#include "pcie.h"
#include "types.h"

/*
 * The copy engine, PCI 1234:5c1b (devices/mscribe/regs.ts), kept busy: its ring is always full of jobs, copies and fills in turn; each
 * is checked when its interrupt has come, and another one takes its place.
 */

#define MSCRIBE_VENDOR 0x1234
#define MSCRIBE_DEVICE 0x5c1b
#define MAX_MSCRIBES 2

struct mscribe_memory;

struct mscribe {
	struct pci_device pci;
	struct mscribe_memory *memory;
	volatile bool interrupted; /* jobs have ended since the last look */
	u32 submitted;             /* jobs given to the device */
	u32 checked;               /* jobs whose end was seen */
	u64 progress_at;           /* tick at which one last ended */
	u64 ok, bad;
	u64 interrupts_lost; /* times that jobs had ended and no interrupt told of it */
};

/* All copy engines of the machine, their MSIs on; NULL error, or what is wrong with one of them. */
u32 mscribe_find(struct mscribe *mscribes, u32 max, const char **error);

/* Checks the jobs that have ended and, unless `stopping`, fills the ring again. True if there was something to do. */
bool mscribe_service(struct mscribe *mscribe, bool stopping);

bool mscribe_idle(const struct mscribe *mscribe);

#endif
