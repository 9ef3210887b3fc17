#ifndef EDU_H
#define EDU_H

#include "pcie.h"
#include "types.h"

/*
 * QEMU's educational device, PCI 1234:11e8 (docs/specs/edu.rst), kept busy: factorials, and DMA of a pattern from RAM into
 * the device's buffer and back to RAM, each next one started when the interrupt of the one before has come.
 */

#define EDU_VENDOR 0x1234
#define EDU_DEVICE 0x11e8
#define MAX_EDUS 8

struct edu {
	struct pci_device pci;
	volatile u32 events; /* interrupt status bits acknowledged and not yet looked at */
	u64 factorials_ok, factorials_bad;
	u64 dma_ok, dma_bad;
	u64 interrupts_lost; /* times that the device had something to tell and no interrupt came for it, nor for anything else */

	bool computing;
	u32 n; /* the factorial under way */
	enum { DMA_IDLE, DMA_TO_DEVICE, DMA_FROM_DEVICE } dma;
	u64 round;      /* DMA round trips begun; seeds the pattern */
	u64 started_at; /* tick of the last start or look at the device */
	u64 *out, *in;
};

/* All edus of the machine, their MSIs on; NULL error, or what is wrong with one of them. */
u32 edu_find(struct edu *edus, u32 max, const char **error);

/* Handles what has happened and, unless `stopping`, starts what is idle. True if there was something to do. */
bool edu_service(struct edu *edu, bool stopping);

bool edu_idle(const struct edu *edu);

#endif
