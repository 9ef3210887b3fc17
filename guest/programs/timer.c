#include "lib/console.h"
#include "lib/csr.h"
#include "lib/mmio.h"
#include "lib/sort.h"

/*
 * How late is a timer's interrupt? The program writes functions, new ones in each pass, and calls each of them until a translator
 * has found it hot; then it does so with functions that are known. Meanwhile mtimecmp is due every half millisecond or so. For
 * both, from mtimecmp to the handler: how many interrupts, the median, 99 %, the longest, in tenths of a microsecond.
 */

#define MTIMECMP 0x2004000ul
#define PERIOD 5000ul /* ticks of 10 MHz */
#define FUNCTIONS 512
#define PASSES 3
#define CALLS 48 /* each is some 900 instructions */
#define KNOWN_CALLS (5 * CALLS)
#define MOST 8192

static u32 code[FUNCTIONS][16] __attribute__((aligned(4096)));
static u32 late[MOST];
static volatile u32 count;
static u64 due;

static void __attribute__((interrupt("machine"), aligned(4))) on_timer(void)
{
	u64 now = csr_read(time);

	if (count < MOST) {
		late[count] = (u32)(now - due);
		count = count + 1;
	}
	due = now + PERIOD + now % 1024;
	write64(MTIMECMP, due);
}

/* Each is another one in each pass: 64 times round a loop of 14 instructions. */
static void write_functions(u32 pass)
{
	for (u32 i = 0; i < FUNCTIONS; i++) {
		u32 *at = code[i];

		*at++ = 0x04000293; /* li t0, 64 */
		for (u32 n = 0; n < 12; n++)
			*at++ = 0x00050513 | ((i * 7 + n * 3 + pass) & 0x7ff) << 20 | (n & 1) << 14; /* addi, xori a0, a0, … */
		*at++ = 0xfff28293; /* addi t0, t0, -1 */
		*at++ = 0xfc0296e3; /* bnez t0, -52 */
		*at = 0x00008067;   /* ret */
	}
	__asm__ volatile("fence.i" ::: "memory");
}

static u64 call(u32 times)
{
	u64 sum = 0;

	for (u32 i = 0; i < FUNCTIONS; i++)
		for (u32 n = 0; n < times; n++)
			sum = ((u64 (*)(u64))(u64)code[i])(sum);
	return sum;
}

static void report(const char *what)
{
	u32 n = count;

	sort(late, n);
	print("@timer %s %u %u %u %u\n", what, n, late[n / 2], late[n - 1 - n / 100], late[n - 1]);
}

static void timer_on(void)
{
	count = 0;
	due = csr_read(time) + PERIOD;
	write64(MTIMECMP, due);
	csr_set(mie, 1ul << IRQ_M_TIMER);
	csr_set(mstatus, MSTATUS_MIE);
}

static void timer_off(void) { csr_clear(mstatus, MSTATUS_MIE); }

int main(void)
{
	u64 sum = 0;

	csr_write(mtvec, on_timer);
	timer_on();
	for (u32 pass = 0; pass < PASSES; pass++) {
		write_functions(pass);
		sum += call(CALLS);
	}
	timer_off();
	report("new");
	timer_on();
	sum += call(KNOWN_CALLS);
	timer_off();
	report("known");
	print("@timer sum %lx\n", sum);
	return 0;
}
