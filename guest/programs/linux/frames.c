#include "../lib/capture.h"
#include "../lib/crc32.h"
#include "linux.h"

/*
 * A user-space driver of Linux for one capture device: `frames RESOURCE COUNTS…`. RESOURCE is its BAR 0 in sysfs; memory
 * decoding and bus mastering are on. COUNTS are files with what others count, as JSON members. It checks all frames, and
 * answers on its terminal, which is raw:
 *   s  prints a line `@stats {json}`
 *   q  stops the device, checks what is still in the ring, prints a line `@final {json}`
 */

#define HUGE_PAGE (2ul << 20)
#define PAGE 4096ul
#define PAGEMAP_PRESENT (1ul << 63)
#define PAGEMAP_PFN ((1ul << 55) - 1)

/* 1 MiB for twenty seconds of frames. No interrupts: the device is looked at every few milliseconds. */
static const struct capture_setup SETUP = { .frames = 2048, .frame_size = 512, .rate = 100, .irq_every = 0 };
static const struct timespec LOOK_EVERY = { .nanoseconds = 4000000 };
#define BATCH 64

static long open_file(const char *path, int flags)
{
	return linux_call(SYS_OPENAT, AT_FDCWD, (long)path, flags, 0, 0, 0);
}

static u64 map(u64 at, u64 bytes, int flags, long fd)
{
	return (u64)linux_call(SYS_MMAP, (long)at, (long)bytes, PROT_READ_WRITE, flags, fd, 0);
}

static bool is_error(u64 result) { return result > -PAGE; }

/* Memory that lies in one piece, mapped where it is: its vaddr is its gpa, as capture.c has it. 0 if there is none. */
static u64 dma_memory(void)
{
	long fd = linux_call(SYS_MEMFD_CREATE, (long)"ring", MFD_HUGETLB, 0, 0, 0, 0);
	long pagemap = open_file("/proc/self/pagemap", 0);
	u64 entry = 0;

	if (fd < 0 || pagemap < 0)
		return 0;
	u64 anywhere = map(0, HUGE_PAGE, MAP_SHARED | MAP_POPULATE, fd);

	if (is_error(anywhere))
		return 0;
	linux_call(SYS_PREAD64, pagemap, (long)&entry, 8, (long)(anywhere / PAGE * 8), 0, 0);
	u64 gpa = (entry & PAGEMAP_PFN) * PAGE;

	if (!(entry & PAGEMAP_PRESENT) || gpa == 0)
		return 0;
	return is_error(map(gpa, HUGE_PAGE, MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd)) ? 0 : gpa;
}

/* A line that is being made. */
static char line[1024];
static u32 length;

static void add(const char *text)
{
	for (; *text != '\0' && length < sizeof(line); text++)
		line[length++] = *text;
}

static void add_count(const char *name, u64 value)
{
	char digits[21];
	char *first = &digits[20];

	*first = '\0';
	do {
		*--first = (char)('0' + value % 10);
		value /= 10;
	} while (value != 0);
	add("\"");
	add(name);
	add("\":");
	add(first);
	add(",");
}

/* Its first line. */
static void add_file(const char *path)
{
	char text[256];
	long fd = open_file(path, 0);
	long bytes = fd < 0 ? 0 : linux_call(SYS_READ, fd, (long)text, sizeof(text) - 1, 0, 0, 0);

	if (fd >= 0)
		linux_call(SYS_CLOSE, fd, 0, 0, 0, 0, 0);
	text[bytes < 0 ? 0 : bytes] = '\0';
	for (char *c = text; *c != '\0'; c++)
		if (*c == '\n')
			*c = '\0';
	add(text);
}

/* Prints the line. */
static void end_line(void)
{
	add("\n");
	linux_call(SYS_WRITE, 1, (long)line, length, 0, 0, 0);
	length = 0;
}

static int fail(const char *what, const char *name)
{
	add(what);
	add(name);
	end_line();
	return 1;
}

static struct capture capture;

static void report(const char *kind, u64 heartbeats, char **counts)
{
	add("@");
	add(kind);
	add(" {");
	add_count("heartbeats", heartbeats);
	add_count("framesChecked", capture.checked);
	add_count("framesLost", capture.lost);
	add_count("framesCorrupt", capture.corrupt);
	add_count("interrupts", 0);
	add_count("spurious", 0);
	for (; *counts != NULL; counts++) {
		add_file(*counts);
		if (counts[1] != NULL)
			add(",");
	}
	add("}");
	end_line();
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return fail("usage: frames RESOURCE COUNTS…", "");
	long resource = open_file(argv[1], O_RDWR | O_SYNC);
	u64 registers = map(0, PAGE, MAP_SHARED, resource);
	u64 memory = dma_memory();

	if (resource < 0 || is_error(registers))
		return fail("frames: cannot map ", argv[1]);
	if (memory == 0)
		return fail("frames: no memory in one piece", "");
	capture.pci.bar0 = registers;
	capture.ring = (const u8 *)memory;
	capture.index = (volatile u64 *)(memory + CAPTURE_RING_SIZE);
	crc32_start();
	const char *error = capture_start(&capture, SETUP);

	if (error != NULL)
		return fail(error, "");
	for (u64 heartbeats = 1;; heartbeats++) {
		struct pollfd input = { .fd = 0, .events = POLLIN };
		char letter;

		capture_service(&capture, BATCH);
		linux_call(SYS_PPOLL, (long)&input, 1, (long)&LOOK_EVERY, 0, 0, 0);
		if (!(input.revents & POLLIN) || linux_call(SYS_READ, 0, (long)&letter, 1, 0, 0, 0) != 1)
			continue;
		if (letter == 's') {
			report("stats", heartbeats, &argv[2]);
		} else if (letter == 'q') {
			if (!capture.stopped)
				capture_stop(&capture);
			while (!capture_drained(&capture))
				capture_service(&capture, BATCH);
			report("final", heartbeats, &argv[2]);
		}
	}
}
