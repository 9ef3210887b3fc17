/*
 * What a process may do with VFIO's files on Linux, one thing per word in argv[1]. Two devices, one
 * per group, behind different IOMMUs. Each scenario prints what it sees.
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
#include <sys/mman.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define IOVA 0x100000ull
#define SIZE (1 << 20)

static int container, group, device, memory;
static char *ram;

static long checked(long result, const char *what)
{
	if (result < 0) {
		printf("%s: %s\n", what, strerror(errno));
		exit(1);
	}
	return result;
}
#define CHECK(x) checked((long)(x), #x)

static int open_group(const char *path)
{
	return open(path, O_RDWR);
}

static void open_all(void)
{
	container = CHECK(open("/dev/vfio/vfio", O_RDWR));
	group = CHECK(open_group("/dev/vfio/0"));
	CHECK(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
	CHECK(ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU));
	device = CHECK(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, "0000:00:02.0"));
}

static void map_memory(uint32_t flags)
{
	ram = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	struct vfio_iommu_type1_dma_map map = { .argsz = sizeof(map), .flags = flags, .vaddr = (uintptr_t)ram, .iova = IOVA, .size = SIZE };
	CHECK(ioctl(container, VFIO_IOMMU_MAP_DMA, &map));
}

static void make_memory(void)
{
	memory = CHECK(memfd_create("ram", 0));
	CHECK(ftruncate(memory, SIZE));
	map_memory(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE);
}

static void invalidate(void)
{
	struct vfio_iommu_type1_dma_unmap unmap = { .argsz = sizeof(unmap), .flags = VFIO_DMA_UNMAP_FLAG_VADDR | VFIO_DMA_UNMAP_FLAG_ALL };
	CHECK(ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap));
}

static uint64_t region(int index)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = index };
	CHECK(ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info));
	return info.offset;
}

static uint32_t config_id(void)
{
	uint32_t id = 0;
	CHECK(pread(device, &id, 4, region(VFIO_PCI_CONFIG_REGION_INDEX)));
	return id;
}

static const char *result(long ret)
{
	return ret < 0 ? strerrorname_np(errno) : "ok";
}

/* The group is held by whoever holds one of its fds; when it is free it can be opened again. */
static const char *group_again(void)
{
	int fd = open_group("/dev/vfio/0");
	const char *said = result(fd);
	if (fd >= 0)
		close(fd);
	return said;
}

static void closing(void)
{
	open_all();
	printf("all open: %s\n", group_again());
	int copy = dup2(group, 200);
	close(group);
	printf("a dup left: %s\n", group_again());
	close(device);
	dup2(2, copy); /* another file takes the number */
	close(container);
	printf("replaced: %s\n", group_again());
	open_all();
	close_range(3, ~0u, 0);
	printf("close_range: %s\n", group_again());
}

static void forking(void)
{
	open_all();
	fflush(stdout);
	if (fork() == 0) {
		printf("child: id %08x, version %d\n", config_id(), ioctl(container, VFIO_GET_API_VERSION));
		exit(0);
	}
	wait(NULL);
	printf("parent: id %08x\n", config_id());
	fflush(stdout);
	if (vfork() == 0) {
		uint32_t id = 0;
		if (pread(device, &id, 4, region(VFIO_PCI_CONFIG_REGION_INDEX)) == 4)
			_exit(7);
		_exit(1);
	}
	int status;
	wait(&status);
	printf("vfork: status %d\n", WEXITSTATUS(status));
}

/* SCM_RIGHTS by socket `on`. */
static void send_fd(int on, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = "", byte = 'x';
	struct iovec iov = { &byte, 1 };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	*header = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(header), &fd, sizeof(int));
	CHECK(sendmsg(on, &message, 0));
}

static int receive_fd(int on)
{
	int fd;
	char control[CMSG_SPACE(sizeof(int))], byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	CHECK(recvmsg(on, &message, 0));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
	return fd;
}

static void passing(void)
{
	int pair[2];
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	fflush(stdout);
	if (fork() == 0) {
		open_all();
		send_fd(pair[0], device);
		exit(0);
	}
	device = receive_fd(pair[1]);
	wait(NULL);
	printf("received: id %08x\n", config_id());
	printf("held: %s\n", group_again());
	close(device);
	printf("closed: %s\n", group_again());
}

/* Files outlive the process that has opened them: in its child, in the child's, and then here. */
static void handing_on(void)
{
	int pair[2], begin[2];
	char byte = 'x';
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	CHECK(pipe(begin));
	printf("first: version %d\n", ioctl(CHECK(open("/dev/vfio/vfio", O_RDWR)), VFIO_GET_API_VERSION));
	if (fork() == 0) {
		close(pair[0]);
		open_all();
		if (fork() == 0) {
			CHECK(read(begin[0], &byte, 1));
			printf("child's child: id %08x\n", config_id());
			if (fork() == 0) {
				printf("its child: id %08x\n", config_id());
				exit(0);
			}
			wait(NULL);
			send_fd(pair[1], device);
			send_fd(pair[1], container);
		}
		exit(0);
	}
	close(pair[1]);
	wait(NULL);
	CHECK(write(begin[1], &byte, 1));
	device = receive_fd(pair[0]);
	container = receive_fd(pair[0]);
	CHECK(read(pair[0], &byte, 1)); /* the end of that process */
	printf("received: id %08x, version %d\n", config_id(), ioctl(container, VFIO_GET_API_VERSION));
	printf("held: %s\n", group_again());
	close(device);
	printf("closed: %s\n", group_again());
}

static struct sockaddr_un at(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	return address;
}

/* Gives the device's fd to whoever listens at `path`, and ends. */
static void sending(const char *path)
{
	struct sockaddr_un address = at(path);
	int out = CHECK(socket(AF_UNIX, SOCK_STREAM, 0));
	open_all();
	CHECK(connect(out, (struct sockaddr *)&address, sizeof(address)));
	send_fd(out, device);
}

/* Gets a device's fd, and keeps it until stdin ends. */
static void receiving(const char *path)
{
	struct sockaddr_un address = at(path);
	struct vfio_device_info info = { .argsz = sizeof(info) };
	char byte;
	int in = CHECK(socket(AF_UNIX, SOCK_STREAM, 0));
	CHECK(bind(in, (struct sockaddr *)&address, sizeof(address)));
	CHECK(listen(in, 1));
	printf("listens\n");
	device = receive_fd(CHECK(accept(in, NULL, NULL)));
	printf("received: %s\n", result(ioctl(device, VFIO_DEVICE_GET_INFO, &info)));
	while (read(0, &byte, 1) > 0)
		;
}

static int keep(int fd)
{
	fcntl(fd, F_SETFD, 0);
	return fd;
}

static void exec_again(void)
{
	char fds[4][16];
	int kept[4] = { keep(container), keep(group), keep(device), keep(memory) };
	for (int i = 0; i < 4; i++)
		snprintf(fds[i], sizeof(fds[i]), "%d", kept[i]);
	fflush(stdout);
	execl("/proc/self/exe", "processes", "resumed", fds[0], fds[1], fds[2], fds[3], NULL);
	printf("execl: %s\n", strerror(errno));
}

static void *exec_in_thread(void *unused)
{
	exec_again();
	return unused;
}

static void execing(int in_thread)
{
	open_all();
	make_memory();
	invalidate();
	if (execl("/nowhere", "nowhere", NULL) < 0)
		printf("failed: %s, then id %08x\n", result(-1), config_id());
	pthread_t thread;
	if (!in_thread)
		exec_again();
	pthread_create(&thread, NULL, exec_in_thread, NULL);
	pthread_join(thread, NULL);
}

static void resumed(char **fds)
{
	container = atoi(fds[0]);
	group = atoi(fds[1]);
	device = atoi(fds[2]);
	memory = atoi(fds[3]);
	map_memory(VFIO_DMA_MAP_FLAG_VADDR);
	printf("new image: id %08x, pid is %s\n", config_id(), getpid() == gettid() ? "tid" : "not tid");
	char *more = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct vfio_iommu_type1_dma_map map = { .argsz = sizeof(map), .flags = VFIO_DMA_MAP_FLAG_READ, .vaddr = (uintptr_t)more, .iova = IOVA + SIZE, .size = 4096 };
	printf("its own memory: %s\n", result(ioctl(container, VFIO_IOMMU_MAP_DMA, &map)));
	struct vfio_iommu_type1_dma_unmap unmap = { .argsz = sizeof(unmap), .flags = VFIO_DMA_UNMAP_FLAG_ALL };
	CHECK(ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap));
	printf("unmapped 0x%llx\n", unmap.size);
}

static void *attach_other(void *unused)
{
	int other = CHECK(open_group("/dev/vfio/1"));
	printf("other group: %s\n", result(ioctl(other, VFIO_GROUP_SET_CONTAINER, &container)));
	return unused;
}

/* Until a thread of ours is asleep in the kernel, as far as the other threads can tell. */
static void asleep(pthread_t *thread)
{
	open_all();
	make_memory();
	invalidate();
	pthread_create(thread, NULL, attach_other, NULL);
	usleep(300000);
}

static void handler(int signal)
{
	(void)signal;
}

static void sleeping(void)
{
	pthread_t thread;
	struct sigaction action = { .sa_handler = handler };
	sigaction(SIGUSR1, &action, NULL);
	asleep(&thread);
	printf("meanwhile: id %08x\n", config_id());
	pthread_kill(thread, SIGUSR1); /* no signal interrupts it but a fatal one */
	map_memory(VFIO_DMA_MAP_FLAG_VADDR);
	pthread_join(thread, NULL);
}

static void killed(void)
{
	pthread_t thread;
	int status;
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		asleep(&thread);
		kill(getpid(), SIGKILL);
	}
	waitpid(child, &status, 0);
	printf("ended by %s\n", sigabbrev_np(WTERMSIG(status)));
	/* exit is as on Linux: the last close is over before wait() returns, or soon after. */
	int tries = 0;
	while (strcmp(group_again(), "ok") && tries++ < 1000)
		usleep(10000);
	printf("then: %s\n", group_again());
}

static void vectors(void)
{
	open_all();
	uint16_t vendor = 0, id = 0;
	struct iovec iov[2] = { { &vendor, 2 }, { &id, 2 } };
	uint64_t config = region(VFIO_PCI_CONFIG_REGION_INDEX);
	ssize_t count = preadv(device, iov, 2, config);
	printf("preadv: %zd, %04x:%04x\n", count, vendor, id);
	vendor = id = 0;
	count = preadv2(device, iov, 2, config, 0);
	printf("preadv2: %zd, %04x:%04x\n", count, vendor, id);
	printf("pread nowhere: %s\n", result(pread(device, (void *)8, 4, config)));
	printf("pwrite from nowhere: %s\n", result(pwrite(device, (void *)8, 4, config + 4)));
	printf("io_uring: %s\n", result(syscall(SYS_io_uring_setup, 4, ram)));
	printf("ioctl of stdout: %s\n", result(ioctl(1, VFIO_GET_API_VERSION)));
	printf("ioctl of nothing: %s\n", result(ioctl(999, VFIO_GET_API_VERSION)));
	printf("argument nowhere: %s\n", result(ioctl(device, VFIO_DEVICE_GET_INFO, 8)));
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct vfio_device_info info = { .argsz = sizeof(info) };
	memcpy(page, &info, sizeof(info));
	CHECK(mprotect(page, 4096, PROT_READ));
	printf("argument read-only: %s\n", result(ioctl(device, VFIO_DEVICE_GET_INFO, page)));
}

/* A call by the way of 32-bit programs: it is made by this machine's own Linux, which has no such file. */
static void narrow(void)
{
	open_all();
	fflush(stdout);
	int status = 0;
#ifdef __x86_64__
	if (fork() == 0) {
		long ret = 54; /* ioctl; a kernel without IA32 emulation kills us */
		asm volatile("int $0x80" : "+a"(ret) : "b"(device), "c"(VFIO_DEVICE_RESET), "d"(0) : "memory");
		_exit(ret == -ENOTTY ? 0 : 1);
	}
	wait(&status);
#endif
	printf("32 bits: %s\n", WIFEXITED(status) && WEXITSTATUS(status) ? "another answer" : "no device");
}

/* Calls of a busy thread pass by a page of memory; what its fds are is looked up all the same. */
static void *many_calls(void *sum)
{
	for (int i = 0; i < 500; i++)
		*(int *)sum += ioctl(container, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU) + (config_id() == 0x11e81234);
	return NULL;
}

static void busy(void)
{
	pthread_t thread;
	int here = 0, there = 0;
	struct vfio_group_status status = { .argsz = sizeof(status) };
	open_all();
	pthread_create(&thread, NULL, many_calls, &there);
	many_calls(&here);
	pthread_join(thread, NULL);
	printf("right: %d, %d\n", here, there);
	int kept = dup(container);
	dup2(1, container);
	printf("stdout in its place: %s\n", result(ioctl(container, VFIO_GET_API_VERSION)));
	dup2(group, container);
	CHECK(ioctl(container, VFIO_GROUP_GET_STATUS, &status));
	printf("the group in its place: flags %x\n", status.flags);
	dup2(kept, container);
	printf("itself again: %s\n", result(ioctl(container, VFIO_GET_API_VERSION)));
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!strcmp(what, "closing"))
		closing();
	else if (!strcmp(what, "forking"))
		forking();
	else if (!strcmp(what, "passing"))
		passing();
	else if (!strcmp(what, "handing-on"))
		handing_on();
	else if (!strcmp(what, "execing"))
		execing(0);
	else if (!strcmp(what, "execing-in-thread"))
		execing(1);
	else if (!strcmp(what, "resumed"))
		resumed(argv + 2);
	else if (!strcmp(what, "sleeping"))
		sleeping();
	else if (!strcmp(what, "killed"))
		killed();
	else if (!strcmp(what, "vectors"))
		vectors();
	else if (!strcmp(what, "busy"))
		busy();
	else if (!strcmp(what, "narrow"))
		narrow();
	else if (!strcmp(what, "again"))
		printf("%s\n", group_again());
	else if (!strcmp(what, "sending"))
		sending(argv[2]);
	else if (!strcmp(what, "receiving"))
		receiving(argv[2]);
	else
		return 2;
	return 0;
}
