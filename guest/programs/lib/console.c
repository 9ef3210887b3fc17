#include "console.h"

#include <stdarg.h>

#include "mmio.h"

#define UART 0x10000000ul
#define UART_DATA (UART + 0)
#define UART_IER (UART + 1)
#define UART_LSR (UART + 5)
#define IER_RECEIVED 0x01
#define LSR_DATA_READY 0x01
#define LSR_THR_EMPTY 0x20

int console_getc(void)
{
	return read8(UART_LSR) & LSR_DATA_READY ? read8(UART_DATA) : -1;
}

void console_interrupts(void) { write8(UART_IER, IER_RECEIVED); }

void console_putc(char c)
{
	while (!(read8(UART_LSR) & LSR_THR_EMPTY))
		;
	write8(UART_DATA, c);
}

static void put_number(u64 value, u32 base)
{
	char digits[20];
	int n = 0;

	do {
		digits[n++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value != 0);
	while (n > 0)
		console_putc(digits[--n]);
}

void print(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	for (const char *p = format; *p != '\0'; p++) {
		if (*p != '%') {
			console_putc(*p);
			continue;
		}
		bool wide = p[1] == 'l';

		p += wide ? 2 : 1;
		if (*p == 'u' || *p == 'x') {
			put_number(wide ? va_arg(args, u64) : va_arg(args, u32), *p == 'u' ? 10 : 16);
		} else if (*p == 's') {
			for (const char *s = va_arg(args, const char *); *s != '\0'; s++)
				console_putc(*s);
		} else if (*p == 'c') {
			console_putc((char)va_arg(args, int));
		} else {
			console_putc(*p);
		}
	}
	va_end(args);
}
