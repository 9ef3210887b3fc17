#ifndef IMSIC_H
#define IMSIC_H

#include "types.h"

/* The machine-level interrupt file of hart 0 (AIA 1.0 §3): where MSIs arrive. */

#define IMSIC_IDENTITIES 64 /* 1 … 63 are used here */

typedef void (*msi_handler)(void *context);

struct msi {
	u64 gpa; /* what a device writes, and where */
	u32 data;
};

void imsic_start(void);

/* A new identity whose interrupts call handler(context), with interrupts off. */
struct msi imsic_allocate(msi_handler handler, void *context);

void imsic_interrupt(void);

/* Identities claimed, and those of them that nobody had allocated. */
u64 imsic_taken(void);
u64 imsic_spurious(void);

#endif
