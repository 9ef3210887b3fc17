#ifndef PLIC_H
#define PLIC_H

#include "types.h"

/* PLIC at 0xc00_0000, context 0: M mode of hart 0. Wired interrupts; with them the machine has no IMSIC. */

#define PLIC_UART 10
#define PLIC_VIRTIO 1 /* of the first slot; the next ones follow */

void plic_enable(u32 source);

/* The source that interrupts, or 0. It interrupts no more until it is completed. */
u32 plic_claim(void);
void plic_complete(u32 source);

#endif
