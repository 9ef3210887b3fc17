#ifndef CLINT_H
#define CLINT_H

#include "types.h"

/* CLINT at 0x200_0000: mtime runs at 10 MHz; one timer interrupt every TICK_MS. */

#define TICK_MS 10

/* Starts the ticks; takes effect with interrupts_on(). */
void clint_start(void);
void clint_interrupt(void);

/* Ticks taken. They do not run while the guest is paused, so a time-out counted in them does not either. */
u64 clint_ticks(void);

#endif
