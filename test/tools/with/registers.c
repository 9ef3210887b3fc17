/*
 * A program that maps registers, under --map-registers, one thing per word in argv[1]. The device is
 * edu: its id at 0, a register that inverts what is written at 4, the factorial at 8.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ID = 0, INVERTS = 1, FACTORIAL = 2, STATUS = 8, COMPUTING = 1, COMMAND = 4 };

static int container, group, device;
static volatile uint32_t *edu;

static long checked(long result, const char *what)
{
	if (result < 0) {
		printf("%s: %s\n", what, strerror(errno));
		exit(1);
	}
	return result;
}
#define CHECK(x) checked((long)(x), #x)

static uint64_t region(int index)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = index };
	CHECK(ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info));
	return info.offset;
}

static void map_edu(void)
{
	container = CHECK(open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC));
	group = CHECK(open("/dev/vfio/0", O_RDWR | O_CLOEXEC));
	CHECK(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
	CHECK(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	device = CHECK(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, "0000:00:02.0"));
	edu = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, device, region(0));
	CHECK(edu == MAP_FAILED ? -1 : 0);
}

static const char *group_again(void)
{
	int fd = open("/dev/vfio/0", O_RDWR);
	const char *said = fd < 0 ? strerrorname_np(errno) : "ok";
	if (fd >= 0)
		close(fd);
	return said;
}

static void using(void)
{
	edu[INVERTS] = 0x1234;
	edu[FACTORIAL] = 10;
	while (edu[STATUS] & COMPUTING)
		;
	printf("id %08x, inverted %08x, 10! = %u\n", edu[ID], edu[INVERTS], edu[FACTORIAL]);
	close(device);
	close(group);
	close(container);
	printf("only mapped: id %08x, %s\n", edu[ID], group_again());
	munmap((void *)edu, 1 << 20);
	printf("unmapped: %s\n", group_again());
}

static sigjmp_buf back;
static volatile int got;

static void jump(int signal)
{
	siglongjmp(back, signal);
}

static void count(int signal)
{
	(void)signal;
	got++;
}

static void withdrawing(void)
{
	uint16_t command = 0;
	int signal;
	struct sigaction action = { .sa_handler = jump };
	sigaction(SIGBUS, &action, NULL);
	CHECK(pwrite(device, &command, 2, region(VFIO_PCI_CONFIG_REGION_INDEX) + COMMAND));
	if ((signal = sigsetjmp(back, 1)) == 0)
		printf("id %08x\n", edu[ID]);
	else
		printf("decoding is off: %s\n", sigabbrev_np(signal));
	command = 2;
	CHECK(pwrite(device, &command, 2, region(VFIO_PCI_CONFIG_REGION_INDEX) + COMMAND));
	printf("on again: id %08x\n", edu[ID]);
}

static void *many(void *right)
{
	for (int i = 0; i < 50; i++)
		*(int *)right += edu[ID] == 0x010000ed;
	return NULL;
}

/* A child that is stopped and continued, and gets signals of its own, while it uses the device. */
static void processes(void)
{
	pthread_t thread;
	int here = 0, there = 0, status;
	struct sigaction action = { .sa_handler = count };
	sigaction(SIGUSR1, &action, NULL);
	pthread_create(&thread, NULL, many, &there);
	many(&here);
	pthread_join(thread, NULL);
	printf("two threads: %d, %d\n", here, there);
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		while (!got)
			many(&here);
		kill(getpid(), SIGSTOP);
		printf("child: id %08x\n", edu[ID]);
		fflush(stdout);
		raise(SIGKILL);
	}
	usleep(50000);
	kill(child, SIGUSR1);
	waitpid(child, &status, WUNTRACED);
	printf("child stopped by %s\n", sigabbrev_np(WSTOPSIG(status)));
	fflush(stdout);
	kill(child, SIGCONT);
	waitpid(child, &status, 0);
	printf("child ended by %s\n", sigabbrev_np(WTERMSIG(status)));
	fflush(stdout);
	int reaped = 0;
	for (int i = 0; i < 50; i++) {
		if ((child = fork()) == 0)
			_exit(0);
		struct pollfd ended = { .fd = syscall(SYS_pidfd_open, child, 0), .events = POLLIN };
		poll(&ended, 1, -1);
		close(ended.fd);
		reaped += waitpid(child, NULL, WNOHANG) == child;
	}
	printf("%d of 50 are waited for as soon as they have ended\n", reaped);
	execl("/proc/self/exe", "registers", "using", NULL);
}

/* An instruction that is not emulated, and a bus error that is none of ours. */
static void unknown(void)
{
	uint32_t value = 0;
	struct sigaction action = { .sa_handler = jump };
	sigaction(SIGBUS, &action, NULL);
	if (sigsetjmp(back, 1) == 0)
		asm volatile("flds (%0)" : : "a"(edu));
	else
		printf("x87: SIGBUS\n");
	int file = memfd_create("file", 0);
	volatile char *hole = mmap(NULL, 4096, PROT_READ, MAP_SHARED, file, 0);
	if (sigsetjmp(back, 1) == 0)
		value = *hole;
	else
		printf("a hole: SIGBUS\n");
	printf("id %08x\n", edu[ID + value]);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	setvbuf(stdout, NULL, _IOLBF, 0);
	map_edu();
	if (!strcmp(what, "using"))
		using();
	else if (!strcmp(what, "withdrawing"))
		withdrawing();
	else if (!strcmp(what, "processes"))
		processes();
	else if (!strcmp(what, "unknown"))
		unknown();
	else
		return 2;
	return 0;
}
