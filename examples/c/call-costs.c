/*
 * What system calls cost this program, in microseconds (medians). "ordinary": calls on files and
 * the cheapest call there is; "registers": loads of a mapped BAR; otherwise VFIO's calls, with a
 * device that `livevmm with` shows.
 *
 *     cc -O2 -o call-costs call-costs.c && ./call-costs ordinary && npx livevmm with -- ./call-costs
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 2001, PIECE = 1 << 18, FILES = 20 };

static int file, container, device;
static uint64_t config;
static volatile uint32_t *bar;
static char *bytes;

static double now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
	double difference = *(const double *)a - *(const double *)b;
	return (difference > 0) - (difference < 0);
}

static double median(int rounds, void (*work)(void))
{
	static double took[ROUNDS];
	for (int i = 0; i < rounds / 4; i++)
		work();
	for (int i = 0; i < rounds; i++) {
		double from = now_us();
		work();
		took[i] = now_us() - from;
	}
	qsort(took, rounds, sizeof(double), compare);
	return took[rounds / 2];
}

static void measure(const char *name, void (*work)(void))
{
	printf("%s %.3f\n", name, median(ROUNDS, work));
}

static void calls(void)
{
	for (int i = 0; i < 100; i++)
		syscall(SYS_getppid);
}

static void reads(void)
{
	pread(file, bytes, PIECE, 0);
}

static void writes(void)
{
	pwrite(file, bytes, PIECE, 0);
}

static void maps(void)
{
	char *mapped = mmap(NULL, PIECE, PROT_READ, MAP_SHARED | MAP_POPULATE, file, 0);
	munmap(mapped, PIECE);
}

static void ioctls(void)
{
	ioctl(container, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU);
}

static void config_reads(void)
{
	uint32_t ids;
	pread(device, &ids, 4, config);
}

static void loads(void)
{
	(void)bar[0];
}

/*
 * Where the pages of a file and of a buffer lie in the caches is luck, and makes more of a
 * difference than a supervisor. So each cost is the least of many files with a buffer each.
 */
static int ordinary(void)
{
	static const struct { const char *name; void (*work)(void); } kinds[] = {
		{ "calls", calls }, { "read", reads }, { "write", writes }, { "mmap", maps },
	};
	double least[4] = { 1e9, 1e9, 1e9, 1e9 };
	for (int i = 0; i < FILES; i++) {
		file = memfd_create("file", 0);
		bytes = mmap(NULL, PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
		pwrite(file, bytes, PIECE, 0);
		for (int k = 0; k < 4; k++) {
			double cost = median(ROUNDS / 8, kinds[k].work);
			if (cost < least[k])
				least[k] = cost;
		}
	}
	for (int k = 0; k < 4; k++)
		printf("%s %.3f\n", kinds[k].name, least[k]);
	return 0;
}

int main(int argc, char **argv)
{
	int registers = argc > 1 && !strcmp(argv[1], "registers");
	int index = registers ? VFIO_PCI_BAR0_REGION_INDEX : VFIO_PCI_CONFIG_REGION_INDEX;
	struct vfio_region_info info = { .argsz = sizeof(info), .index = index };
	if (argc > 1 && !strcmp(argv[1], "ordinary"))
		return ordinary();
	container = open("/dev/vfio/vfio", O_RDWR);
	int group = open("/dev/vfio/0", O_RDWR);
	if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) || ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		return 1;
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, "0000:00:02.0");
	if (device < 0 || ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info))
		return 1;
	if (registers) {
		bar = mmap(NULL, info.size, PROT_READ, MAP_SHARED, device, info.offset);
		measure("load", loads);
		return 0;
	}
	config = info.offset;
	measure("ioctl", ioctls);
	measure("pread", config_reads);
	return 0;
}
