/*
 * What a process may do with mappings of BARs, one thing per word in argv[1]. The device is
 * ivshmem-plain: registers in BAR 0, memory in BAR 2.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE (1 << 20)
enum { COMMAND = 4, MEMORY = 2 };

static int container, group, device;

static long checked(long result, const char *what)
{
	if (result < 0) {
		printf("%s: %s\n", what, strerror(errno));
		exit(1);
	}
	return result;
}
#define CHECK(x) checked((long)(x), #x)

static const char *result(long ret)
{
	return ret < 0 ? strerrorname_np(errno) : "ok";
}

static void open_all(void)
{
	container = CHECK(open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC));
	group = CHECK(open("/dev/vfio/0", O_RDWR | O_CLOEXEC));
	CHECK(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
	CHECK(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	device = CHECK(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, "0000:00:02.0"));
}

static void close_all(void)
{
	close(device);
	close(group);
	close(container);
}

/* The group is held by its device, and the device by its fds and mappings. */
static const char *group_again(void)
{
	int fd = open("/dev/vfio/0", O_RDWR);
	const char *said = result(fd);
	if (fd >= 0)
		close(fd);
	return said;
}

static struct vfio_region_info region(int index)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = index };
	CHECK(ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info));
	return info;
}

static char *map(int index, size_t length, int flags, uint64_t from)
{
	return mmap(NULL, length, PROT_READ | PROT_WRITE, flags, device, region(index).offset + from);
}

static const char *mapped(char *vaddr)
{
	return vaddr == MAP_FAILED ? strerrorname_np(errno) : "ok";
}

static char *memory(void)
{
	char *vaddr = map(2, SIZE, MAP_SHARED, 0);
	if (vaddr == MAP_FAILED)
		CHECK(-1);
	return vaddr;
}

static sigjmp_buf fault;
static void on_fault(int signal)
{
	siglongjmp(fault, signal);
}

static const char *load(volatile char *vaddr)
{
	static char text[16];
	int signal_number = sigsetjmp(fault, 1);
	if (signal_number)
		return sigabbrev_np(signal_number);
	snprintf(text, sizeof(text), "%c", *vaddr);
	return text;
}

static void command(uint16_t bits)
{
	CHECK(pwrite(device, &bits, 2, region(VFIO_PCI_CONFIG_REGION_INDEX).offset + COMMAND));
}

static void checks(void)
{
	open_all();
	printf("mmap flag: %d %d %d\n", !!(region(0).flags & VFIO_REGION_INFO_FLAG_MMAP), !!(region(2).flags & VFIO_REGION_INFO_FLAG_MMAP), !!(region(7).flags & VFIO_REGION_INFO_FLAG_MMAP));
	printf("whole: %s, page: %s\n", mapped(map(2, SIZE, MAP_SHARED, 0)), mapped(map(2, 4096, MAP_SHARED, SIZE - 4096)));
	printf("private: %s\n", mapped(map(2, SIZE, MAP_PRIVATE, 0)));
	printf("beyond: %s\n", mapped(map(2, SIZE, MAP_SHARED, 4096)));
	printf("off a page: %s\n", mapped(map(2, 4096, MAP_SHARED, 5)));
	printf("nothing: %s\n", mapped(map(2, 0, MAP_SHARED, 0)));
	printf("too much: %s\n", mapped(map(2, ~0ull - 4095, MAP_SHARED, 0)));
	printf("registers: %s, config: %s\n", mapped(map(0, 4096, MAP_SHARED, 0)), mapped(map(7, 4096, MAP_SHARED, 0)));
}

static void bytes(void)
{
	open_all();
	char *ram = memory(), got[8] = "";
	strcpy(ram + 5000, "stored");
	CHECK(pread(device, got, 7, region(2).offset + 5000));
	CHECK(pwrite(device, "written", 8, region(2).offset + SIZE - 8));
	printf("%s, %s\n", got, ram + SIZE - 8);
	struct vfio_iommu_type1_dma_map dma = { .argsz = sizeof(dma), .flags = VFIO_DMA_MAP_FLAG_READ, .vaddr = (uintptr_t)ram, .iova = 0x100000, .size = SIZE };
	printf("for DMA: %s\n", result(ioctl(container, VFIO_IOMMU_MAP_DMA, &dma)));
}

static void withdrawing(void)
{
	open_all();
	signal(SIGBUS, on_fault);
	char *ram = memory();
	ram[4096] = 'x';
	command(0);
	printf("off: %s\n", load(ram + 4096));
	command(MEMORY);
	printf("on: %s\n", load(ram + 4096));
}

static void holding(void)
{
	open_all();
	char *ram = memory();
	munmap(ram + 4096, 8192);
	close_all();
	printf("mapped in two pieces: %s\n", group_again());
	munmap(ram, 4096);
	printf("one piece left: %s\n", group_again());
	munmap(ram, SIZE);
	printf("unmapped: %s\n", group_again());
}

static void forking(void)
{
	int go[2];
	char byte;
	pipe(go);
	open_all();
	char *ram = memory();
	ram[0] = 'p';
	int child = fork();
	if (child == 0) {
		read(go[0], &byte, 1);
		ram[0]++;
		pause();
	}
	close_all();
	write(go[1], "", 1);
	while (*(volatile char *)ram != 'q')
		usleep(1000);
	munmap(ram, SIZE);
	printf("the child has it: %s\n", group_again());
	kill(child, SIGKILL);
	wait(NULL);
	printf("killed: %s\n", group_again());
}

/* Both processes become others, whose address spaces are empty. */
static void execing(void)
{
	open_all();
	memory();
	if (fork() == 0)
		execlp("cat", "cat", "/dev/null", NULL);
	execl("/proc/self/exe", "mappings", "again", NULL);
}

static void again(void)
{
	wait(NULL);
	printf("after exec: %s\n", group_again());
}

int main(int argc, char **argv)
{
	static const struct { const char *name; void (*run)(void); } all[] = { { "checks", checks }, { "bytes", bytes }, { "withdrawing", withdrawing }, { "holding", holding }, { "forking", forking }, { "execing", execing }, { "again", again } };
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		if (argc > 1 && !strcmp(argv[1], all[i].name))
			all[i].run();
	return 0;
}
