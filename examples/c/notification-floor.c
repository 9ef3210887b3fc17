/*
 * The floor under every system call that a supervisor answers: a child's getppid(2) is trapped by
 * seccomp (SECCOMP_RET_USER_NOTIF), and its parent does nothing but say "go on". Microseconds per
 * call, median.
 *
 *     cc -O2 -o notification-floor notification-floor.c && ./notification-floor
 */
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64) /* Linux 6.6 */
enum { SYNC_WAKE_UP = 1, ROUNDS = 10001 };

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

static int child(int up, int go)
{
	static double took[ROUNDS];
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(filter) / sizeof(*filter), filter };
	char byte;
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	int listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
	if (listener < 0 || write(up, &listener, sizeof(listener)) < 0 || read(go, &byte, 1) != 1)
		return 1;
	close(listener);
	for (int i = 0; i < ROUNDS; i++) {
		double from = now_us();
		syscall(SYS_getppid);
		took[i] = now_us() - from;
	}
	qsort(took, ROUNDS, sizeof(double), compare);
	printf("notification %.3f\n", took[ROUNDS / 2]);
	return 0;
}

int main(void)
{
	int up[2], go[2], listener, status;
	if (pipe(up) || pipe(go))
		return 1;
	pid_t pid = fork();
	if (pid == 0)
		return child(up[1], go[0]);
	close(up[1]);
	if (read(up[0], &listener, sizeof(listener)) != sizeof(listener))
		return 1;
	listener = syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, pid, 0), listener, 0);
	ioctl(listener, NOTIF_SET_FLAGS, (unsigned long)SYNC_WAKE_UP);
	write(go[1], "", 1);
	for (;;) {
		struct seccomp_notif notification;
		memset(&notification, 0, sizeof(notification));
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &notification) < 0)
			break; /* it has ended */
		struct seccomp_notif_resp answer = { .id = notification.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE };
		ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
	}
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}
