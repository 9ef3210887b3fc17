/*
 * A hostile program: system calls with random numbers, pointers and fds, of the kinds that its
 * supervisor looks at. Usage: hostile SEED COUNT. It prints how many calls it made, and whether an
 * honest call is answered afterwards.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where regions of devices lie (iommu/abi/device-object.ts): two units of 2^44 bytes. */
#define PLACES 0x1a0ull

static uint64_t state;
static char *page; /* readable and writable; behind it nothing is mapped */
static char *constant; /* readable */
static int fds[8];

static uint64_t rnd(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state * 0x2545f4914f6cdd1dull;
}

static uint64_t pointer(void)
{
	switch (rnd() % 8) {
	case 0:
		return rnd();
	case 1:
		return rnd() % 65536;
	case 2:
		return (uintptr_t)constant + rnd() % 4096;
	case 3:
		return (uintptr_t)page + 4096 - rnd() % 40;
	default:
		return (uintptr_t)page + rnd() % 2048;
	}
}

static int fd(void)
{
	return rnd() % 4 ? fds[rnd() % 8] : (int)rnd();
}

static uint64_t size(void)
{
	return rnd() % 4 ? rnd() % 4096 : rnd();
}

/* Fills the page with what may look like an argument. */
static void scribble(void)
{
	static const char *const paths[] = { "/dev/vfio/vfio", "/dev/vfio/0", "/dev/vfio/../vfio/9", "/sys/bus/pci/devices", "/sys/bus/pci/devices/0000:00:02.0/config", "/dev/vfio" };
	uint32_t *words = (uint32_t *)(page + rnd() % 2048 / 4 * 4);
	for (int i = 0; i < 16; i++)
		words[i] = rnd() % 2 ? rnd() % 64 : rnd();
	if (rnd() % 2)
		strcpy(page + rnd() % 2048, paths[rnd() % 6]);
}

static void call(void)
{
	static const long numbers[] = { SYS_openat, SYS_newfstatat, SYS_statx, SYS_faccessat, SYS_faccessat2, SYS_readlinkat, SYS_openat2, SYS_execve };
	uint64_t offset = (PLACES + rnd() % 2) << 44 | rnd() % 9 << 40 | (rnd() % 2 ? rnd() % 512 : rnd() % (1ull << 40));
	scribble();
	switch (rnd() % 10) {
	case 0:
	case 1:
	case 2:
		ioctl(fd(), 0x3b00 | (rnd() % 8 ? 100 + rnd() % 22 : rnd() % 256), pointer());
		break;
	case 3:
		syscall(SYS_pread64, fd(), pointer(), size(), offset);
		break;
	case 4:
		syscall(SYS_pwrite64, fd(), pointer(), size(), offset);
		break;
	case 5:
		syscall(rnd() % 2 ? SYS_preadv : SYS_pwritev2, fd(), pointer(), size(), offset, 0, rnd() % 4);
		break;
	case 6: {
		uint64_t length = size();
		void *mapped = (void *)syscall(SYS_mmap, NULL, length, rnd() % 8, rnd() % 4, fd(), rnd() % 4 ? offset & ~4095ull : offset);
		if (mapped != MAP_FAILED && rnd() % 2)
			munmap(mapped, length);
		break;
	}
	case 7:
		if (rnd() % 2)
			flock(fd(), LOCK_SH << rnd() % 4 | LOCK_NB);
		else if (rnd() % 4)
			ftruncate(fd(), offset);
		else
			close(dup(fd()));
		break;
	default: {
		int got = syscall(numbers[rnd() % 8], rnd() % 2 ? AT_FDCWD : fd(), pointer(), pointer(), pointer(), rnd(), rnd());
		if (got > 2)
			fds[rnd() % 8] = got;
		if (got > 200)
			close_range(100, ~0u, 0);
	}
	}
}

static void *calls(void *count)
{
	for (long i = 0; i < (long)count; i++)
		call();
	return NULL;
}

int main(int argc, char **argv)
{
	state = strtoull(argv[1], NULL, 0) | 1;
	long count = atol(argv[2]);
	chdir("/proc"); /* where nothing can be made */
	page = (char *)mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(page + 4096, 4096);
	constant = (char *)mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	/* Children: a call may have replaced our stdio, and some are killed in the middle. */
	for (int child = 0; child < 4; child++) {
		pid_t pid = fork();
		if (pid == 0) {
			state += child * 7919;
			int container = open("/dev/vfio/vfio", O_RDWR), group = open("/dev/vfio/0", O_RDWR);
			ioctl(group, VFIO_GROUP_SET_CONTAINER, &container);
			ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU);
			int device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, "0000:00:02.0");
			int all[8] = { container, group, device, device, container, group, 1000, -1 };
			memcpy(fds, all, sizeof(fds));
			pthread_t other;
			pthread_create(&other, NULL, calls, (void *)(count / 8));
			calls((void *)(count / 8));
			if (child % 2)
				kill(getpid(), SIGKILL);
			pthread_join(other, NULL);
			_exit(0);
		}
		waitpid(pid, NULL, 0);
	}
	int container = open("/dev/vfio/vfio", O_RDWR);
	printf("%ld calls, then version %d\n", count, ioctl(container, VFIO_GET_API_VERSION));
	return 0;
}
