/* Debug Console (SBI 2.0 §12) on the UART. */
#include "sbi.h"

#include "mmio.h"

#define UART 0x10000000ul
#define UART_DATA (UART + 0)
#define UART_LSR (UART + 5)
#define LSR_DATA_READY 0x01
#define LSR_THR_EMPTY 0x20

void console_put(char c)
{
	while (!(read8(UART_LSR) & LSR_THR_EMPTY))
		;
	write8(UART_DATA, (u8)c);
}

int console_get(void) { return read8(UART_LSR) & LSR_DATA_READY ? read8(UART_DATA) : -1; }

/* Memory that S mode may name: nothing of ours, and no address above 64 bits. */
static bool reachable(u64 address, u64 size, u64 high)
{
	return high == 0 && address >= FIRMWARE + FIRMWARE_SIZE && address + size >= address;
}

struct sbiret sbi_dbcn(u64 fid, const u64 *a)
{
	u64 n = 0;

	if (fid == 2) {
		console_put((char)a[0]);
		return sbi_value(0);
	}
	if (fid > 2)
		return sbi_error(SBI_ERR_NOT_SUPPORTED);
	if (!reachable(a[1], a[0], a[2]))
		return sbi_error(SBI_ERR_INVALID_PARAM);
	volatile u8 *bytes = (volatile u8 *)a[1];

	if (fid == 0) {
		for (; n < a[0]; n++)
			console_put((char)bytes[n]);
	} else {
		for (int c; n < a[0] && (c = console_get()) >= 0; n++)
			bytes[n] = (u8)c;
	}
	return sbi_value((long)n);
}
