/*
 * The client of `livevmm conform --through-syscalls`. It makes the system calls that it is asked
 * for, as any program does, and knows nothing of VFIO: the steps of a recording become such calls
 * in calls.ts. Each of its threads and processes has a channel, a connection to the socket PATH.
 *
 * CLIENT PATH TOKEN: begins with the hello TOKEN on a channel. See channel.ts for both ends.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

/* Fds of ours: a socket pair for files that are passed on, then the channels. Below are the script's. */
enum { PASS_OUT = 100, PASS_IN, CHANNELS };

struct request {
	char op[16];
	uint64_t args[6];
	/* Memory that gets `in` bytes before the call; its first `out` bytes are told afterwards. */
	uint64_t vaddr, in, out;
};
struct reply { int64_t ret; uint64_t out; };
struct hello { uint64_t token, pid, tid; };

static const struct { const char *name; long number; } calls[] = {
	{ "close", SYS_close },       { "dup", SYS_dup },           { "eventfd2", SYS_eventfd2 },
	{ "fcntl", SYS_fcntl },       { "ftruncate", SYS_ftruncate }, { "ioctl", SYS_ioctl },
	{ "memfd_create", SYS_memfd_create }, { "mlock", SYS_mlock }, { "mmap", SYS_mmap },
	{ "mprotect", SYS_mprotect }, { "munmap", SYS_munmap },     { "openat", SYS_openat },
	{ "pread64", SYS_pread64 },   { "prlimit64", SYS_prlimit64 }, { "pwrite64", SYS_pwrite64 },
	{ "read", SYS_read },         { "wait4", SYS_wait4 },       { "write", SYS_write },
};

static char *program, *path;

static _Noreturn void die(const char *what)
{
	perror(what);
	_exit(1);
}

/* All of it, or the end of this process when nobody is there any more. */
static void transfer(int channel, void *data, size_t length, int out)
{
	for (char *at = data; length > 0;) {
		ssize_t n = out ? send(channel, at, length, MSG_NOSIGNAL) : recv(channel, at, length, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			_exit(0);
		at += n;
		length -= n;
	}
}

static int greet(uint64_t token)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct hello hello = { token, getpid(), syscall(SYS_gettid) };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	strncpy(address.sun_path, path, sizeof address.sun_path - 1);
	if (fd < 0 || connect(fd, (void *)&address, sizeof address) < 0)
		die(path);
	int channel = fcntl(fd, F_DUPFD_CLOEXEC, CHANNELS);
	if (channel < 0)
		die("fcntl");
	close(fd);
	transfer(channel, &hello, sizeof hello, 1);
	return channel;
}

/* Accesses of the CPU, in words of the width that is asked for. A fault is the answer. */
static __thread sigjmp_buf escape;
static __thread volatile sig_atomic_t accesses;

static void fault(int number)
{
	if (accesses)
		siglongjmp(escape, number);
	signal(number, SIG_DFL); /* a fault of our own: it comes again, and ends us */
}

static void copy(volatile char *to, const volatile char *from, size_t length)
{
	size_t width = length == 1 || length == 2 || length == 8 ? length : 4;
	for (; length > 0; to += width, from += width, length -= width) {
		if (length < width)
			width = 1;
		switch (width) {
		case 1: *to = *from; break;
		case 2: *(volatile uint16_t *)to = *(const volatile uint16_t *)from; break;
		case 4: *(volatile uint32_t *)to = *(const volatile uint32_t *)from; break;
		case 8: *(volatile uint64_t *)to = *(const volatile uint64_t *)from; break;
		}
	}
}

/* 0, or the number of the signal. */
static int access_memory(void *to, const void *from, size_t length)
{
	int number = sigsetjmp(escape, 1);
	if (number == 0) {
		accesses = 1;
		copy(to, from, length);
	}
	accesses = 0;
	return number;
}

static void handled(int number) { (void)number; }

static long handle(int number)
{
	struct sigaction action = { .sa_handler = handled, .sa_flags = SA_RESTART };
	return sigaction(number, &action, NULL) < 0 ? -errno : 0;
}

/* setuid(2) of all threads. A user's process that was root's is closed to its user otherwise. */
static long become(uid_t uid)
{
	if (setuid(uid) < 0)
		return -errno;
	return prctl(PR_SET_DUMPABLE, 1) < 0 ? -errno : 0;
}

static long begin(uint64_t token)
{
	char number[24];
	snprintf(number, sizeof number, "%llu", (unsigned long long)token);
	execv(program, (char *[]){ program, path, number, NULL });
	return -errno;
}

static _Noreturn void serve(uint64_t token);

static void *thread(void *token) { serve((uintptr_t)token); }

static long start_thread(uint64_t token)
{
	pthread_t id;
	int error = pthread_create(&id, NULL, thread, (void *)(uintptr_t)token);
	return error ? -error : pthread_detach(id);
}

/*
 * A process: a copy of this one, or `fresh`, with nothing open and mapped. Every process is a child
 * of the first one, which waits for them: the others make it a sibling.
 */
static long start_process(uint64_t token, int sibling, int fresh)
{
	pid_t pid = sibling ? syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0) : fork();
	if (pid != 0)
		return pid < 0 ? -errno : pid;
	if (fresh) {
		syscall(SYS_close_range, 3, PASS_OUT - 1, 0);
		begin(token);
		die(program);
	}
	syscall(SYS_close_range, CHANNELS, ~0U, 0);
	serve(token);
}

/* An open file goes to another process: one sends it, then the other one receives. */
static long pass(int fd, int out)
{
	char byte = 0, control[CMSG_SPACE(sizeof fd)] = { 0 };
	struct iovec data = { &byte, 1 };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	if (!out) {
		if (recvmsg(PASS_IN, &message, MSG_DONTWAIT) < 0)
			return -errno;
		memcpy(&fd, CMSG_DATA(header), sizeof fd);
		return fd;
	}
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(header), &fd, sizeof fd);
	return sendmsg(PASS_OUT, &message, 0) < 0 ? -errno : 0;
}

static long carry_out(const struct request *r)
{
	const uint64_t *a = r->args;
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
		if (strcmp(calls[i].name, r->op) != 0)
			continue;
		long ret = syscall(calls[i].number, a[0], a[1], a[2], a[3], a[4], a[5]);
		return ret == -1 ? -errno : ret;
	}
	if (strcmp(r->op, "thread") == 0)
		return start_thread(a[0]);
	if (strcmp(r->op, "process") == 0)
		return start_process(a[0], a[1], a[2]);
	if (strcmp(r->op, "exec") == 0)
		return begin(a[0]);
	if (strcmp(r->op, "setuid") == 0)
		return become(a[0]);
	if (strcmp(r->op, "handle") == 0)
		return handle(a[0]);
	if (strcmp(r->op, "send") == 0)
		return pass(a[0], 1);
	if (strcmp(r->op, "receive") == 0)
		return pass(-1, 0);
	return -ENOSYS;
}

static _Noreturn void serve(uint64_t token)
{
	int channel = greet(token);
	for (;;) {
		struct request r;
		transfer(channel, &r, sizeof r, 0);
		int loads = strcmp(r.op, "load") == 0, stores = strcmp(r.op, "store") == 0;
		void *memory = (void *)(uintptr_t)r.vaddr, *data = memory;
		if ((loads || stores) && !(data = malloc(r.in + r.out + 1)))
			die("malloc");
		transfer(channel, data, r.in, 0);
		struct reply reply = { 0, r.out };
		if (loads)
			reply.ret = access_memory(data, memory, r.out);
		else if (stores)
			reply.ret = access_memory(memory, data, r.in);
		else
			reply.ret = carry_out(&r);
		transfer(channel, &reply, sizeof reply, 1);
		transfer(channel, data, r.out, 1);
		if (data != memory)
			free(data);
	}
}

/* Made once; they stay over execve. */
static void make_pass(void)
{
	int pair[2];
	if (fcntl(PASS_OUT, F_GETFD) >= 0)
		return;
	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) < 0 || dup2(pair[0], PASS_OUT) < 0 || dup2(pair[1], PASS_IN) < 0)
		die("socketpair");
	close(pair[0]);
	close(pair[1]);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	program = argv[0];
	path = argv[1];
	struct sigaction action = { .sa_handler = fault };
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	make_pass();
	serve(strtoull(argv[2], NULL, 10));
}
