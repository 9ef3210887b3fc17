#ifndef CONSOLE_H
#define CONSOLE_H

#include "types.h"

/* 16550 UART at 0x1000_0000, polled. */

/* The next character received, or -1. */
int console_getc(void);
/* Input interrupts from now on. */
void console_interrupts(void);
void console_putc(char c);

/* Just what the guests print: %s, %u (u32), %lu (u64), %x (u32, hexadecimal), %lx, %c and %%. */
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
