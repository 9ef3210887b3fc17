/*
 * How fast is the CPU? Each kernel is repeated for a fifth of a second of the machine's time, after a tenth in which a translator may
 * get warm. A line for each: its name, the rounds made, the ticks (10 MHz) they took, and a checksum of one round, which depends
 * on no speed. First in M mode, where memory is as it is; then, with names that begin with s-, in S mode with Sv39 and pages of 4 KiB.
 */
#include "lib/console.h"
#include "lib/csr.h"
#include "lib/mmio.h"

#define TICKS 2000000
#define SETTLE 10000000ul /* a second, in which a VMM starts its threads */
#define FINISHER 0x100000ul
#define FINISHER_PASS 0x5555
#define NOT_INLINE __attribute__((noinline))

/* xorshift and multiply: arithmetic, no memory. */
static NOT_INLINE u64 loop(void)
{
	u64 s = 88172645463325252ul;
	for (u64 i = 0; i < 20000; i++) {
		s ^= s << 13;
		s ^= s >> 7;
		s ^= s << 17;
		s = s * 0x9e3779b97f4a7c15ul + i;
	}
	return s;
}

/* Following pointers through 64 KiB. */
static struct node { struct node *next; u64 value; } nodes[4096];

static NOT_INLINE u64 list(void)
{
	if (!nodes[0].next)
		for (u32 i = 0; i < 4096; i++) {
			nodes[i].next = &nodes[(i * 1597 + 51) & 4095];
			nodes[i].value = i * 7;
		}
	u64 sum = 0;
	struct node *at = nodes;
	for (u32 i = 0; i < 20000; i++) {
		sum += at->value;
		at = at->next;
	}
	return sum;
}

/* CRC-32 by table: byte loads that depend on each other. */
static u32 table[256];
static u8 text[8192];

static NOT_INLINE u64 crc(void)
{
	if (!table[1])
		for (u32 i = 0; i < 256; i++) {
			u32 c = i;
			for (int k = 0; k < 8; k++)
				c = (c >> 1) ^ (0xedb88320u & -(c & 1));
			table[i] = c;
			text[i] = i;
		}
	u32 c = ~0u;
	for (u32 i = 0; i < sizeof text; i++)
		c = table[(c ^ text[i]) & 255] ^ (c >> 8);
	return ~c;
}

/* A scanner of words and numbers: branches that depend on data. */
static u8 source[4096];

static NOT_INLINE u64 state(void)
{
	if (!source[0]) {
		static const u8 letters[] = "ab1 2c, 34d_(e)";
		u32 seed = 1;
		for (u32 i = 0; i < sizeof source; i++) {
			seed = seed * 1103515245 + 12345;
			source[i] = letters[(seed >> 16) % 15];
		}
	}
	u32 words = 0, numbers = 0, marks = 0, in = 0;
	for (u32 i = 0; i < sizeof source; i++) {
		u8 c = source[i];
		u32 kind = (c >= 'a' && c <= 'z') || c == '_' ? 1 : c >= '0' && c <= '9' ? 2 : c == ' ' ? 0 : 3;
		switch (in) {
		case 1:
			if (kind == 1 || kind == 2)
				continue;
			words++;
			break;
		case 2:
			if (kind == 2)
				continue;
			numbers++;
			break;
		}
		if (kind == 3)
			marks++;
		in = kind;
	}
	return words * 1000000ul + numbers * 1000 + marks;
}

/* 40 x 40 doubles. */
static double left[40][40], right[40][40], product[40][40];

static NOT_INLINE u64 matmul(void)
{
	if (left[0][1] == 0)
		for (u32 i = 0; i < 40; i++)
			for (u32 j = 0; j < 40; j++) {
				left[i][j] = (i * 40 + j) * 0.37;
				right[i][j] = (i + 1) / (j + 1.7);
			}
	for (u32 i = 0; i < 40; i++)
		for (u32 j = 0; j < 40; j++) {
			double sum = 0;
			for (u32 k = 0; k < 40; k++)
				sum += left[i][k] * right[k][j];
			product[i][j] = sum;
		}
	union { double d; u64 u; } last = { .d = product[39][39] };
	return last.u;
}

/* 64 KiB, 32 bytes a turn. */
static u64 from[8192], to[8192];

static NOT_INLINE u64 copy(void)
{
	from[8191] = 42;
	const u64 *s = from;
	for (u64 *d = to; d < to + 8192; d += 4, s += 4) {
		u64 a = s[0], b = s[1], c = s[2], e = s[3];
		d[0] = a;
		d[1] = b;
		d[2] = c;
		d[3] = e;
	}
	return to[8191];
}

/* Calls and returns. */
static NOT_INLINE u64 fib(u64 n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
static NOT_INLINE u64 calls(void) { return fib(16); }

/* Traps to M mode and back, and a device's register: what leaves plain code. */
static volatile u64 traps;

static void __attribute__((interrupt("machine"), aligned(4))) on_trap(void)
{
	traps++;
	csr_write(mepc, csr_read(mepc) + 4);
}

static void __attribute__((interrupt("supervisor"), aligned(4))) on_supervisor_trap(void)
{
	traps++;
	csr_write(sepc, csr_read(sepc) + 4);
}

static void trap_and_look(void)
{
	__asm__ volatile(".option push\n.option norvc\necall\n.option pop" ::: "memory");
	(void)read8(0x10000005);
}

static NOT_INLINE u64 trap(void)
{
	u64 old = csr_read(mtvec);
	csr_write(mtvec, on_trap);
	traps = 0;
	for (u32 i = 0; i < 100; i++)
		trap_and_look();
	csr_write(mtvec, old);
	return traps;
}

static NOT_INLINE u64 supervisor_trap(void)
{
	csr_write(stvec, on_supervisor_trap);
	traps = 0;
	for (u32 i = 0; i < 100; i++)
		trap_and_look();
	return traps;
}

/* Page tables (priv-isa 10.4): devices by one large page, and 4 MiB of RAM by small ones, each at its own address. */
#define RAM 0x80000000ul
#define LEAF_TABLES 2
#define PTE_POINTER 0x01ul
#define PTE_LEAF 0xcful /* V R W X A D */
static u64 root[512] __attribute__((aligned(4096)));
static u64 middle[512] __attribute__((aligned(4096)));
static u64 leaves[LEAF_TABLES][512] __attribute__((aligned(4096)));

static u64 entry(u64 gpa, u64 flags) { return gpa >> 12 << 10 | flags; }

static void enter_supervisor_mode(void)
{
	root[0] = entry(0, PTE_LEAF);
	root[RAM >> 30] = entry((u64)middle, PTE_POINTER);
	for (u32 i = 0; i < LEAF_TABLES; i++) {
		middle[i] = entry((u64)leaves[i], PTE_POINTER);
		for (u32 j = 0; j < 512; j++)
			leaves[i][j] = entry(RAM + (i * 512ul + j) * 4096, PTE_LEAF);
	}
	csr_write(pmpaddr0, ~0ul >> 10);
	csr_write(pmpcfg0, 0x1f); /* NAPOT, X W R: all memory */
	csr_write(mcounteren, 7);
	csr_set(medeleg, 1ul << 9); /* ECALL from S mode */
	csr_write(satp, 8ul << 60 | (u64)root >> 12);
	csr_clear(mstatus, 3ul << 11);
	csr_set(mstatus, 1ul << 11); /* MPP: S */
	__asm__ volatile("sfence.vma\nla t0, 1f\ncsrw mepc, t0\nmret\n1:" ::: "t0", "memory");
}

static u64 now(void) { return csr_read(time); }

static void measure(const char *name, u64 (*kernel)(void))
{
	u64 sum = kernel(), rounds = 0, start = now(), end;
	while (now() - start < TICKS / 2)
		kernel();
	start = now();
	do {
		kernel();
		rounds++;
		end = now();
	} while (end - start < TICKS);
	print("%s %lu %lu %lx\n", name, rounds, end - start, sum);
}

int main(void)
{
	csr_set(mstatus, 1ul << 13); /* FS: Initial */
	for (u64 end = now() + SETTLE; now() < end;)
		;
	measure("loop", loop);
	measure("list", list);
	measure("crc", crc);
	measure("state", state);
	measure("matmul", matmul);
	measure("copy", copy);
	measure("calls", calls);
	measure("trap", trap);
	enter_supervisor_mode();
	measure("s-loop", loop);
	measure("s-list", list);
	measure("s-crc", crc);
	measure("s-state", state);
	measure("s-matmul", matmul);
	measure("s-copy", copy);
	measure("s-calls", calls);
	measure("s-trap", supervisor_trap);
	write32(FINISHER, FINISHER_PASS); /* power_off is for M mode */
	for (;;)
		wait_for_interrupt();
}
