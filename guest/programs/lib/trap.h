#ifndef TRAP_H
#define TRAP_H

#include "types.h"

/* Interrupts are taken one at a time, with interrupts off, on the stack of what they interrupt. */

/* mtvec, direct mode. An exception is printed and powers the machine off with TRAP_EXIT_STATUS. */
void trap_entry(void);

#define TRAP_EXIT_STATUS 99

void interrupts_on(void);
void interrupts_off(void);

#endif
