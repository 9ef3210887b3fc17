#ifndef LINUX_H
#define LINUX_H

#include "../lib/types.h"

/* Linux's system calls on RISC-V: a result, or a negated errno. */

long linux_call(long number, long a, long b, long c, long d, long e, long f);

#define SYS_OPENAT 56
#define SYS_CLOSE 57
#define SYS_READ 63
#define SYS_WRITE 64
#define SYS_PREAD64 67
#define SYS_PPOLL 73
#define SYS_MMAP 222
#define SYS_MUNMAP 215
#define SYS_MEMFD_CREATE 279

#define AT_FDCWD (-100)
#define O_RDWR 2
#define O_SYNC 04010000
#define PROT_READ_WRITE 3
#define MAP_SHARED 0x01
#define MAP_FIXED 0x10
#define MAP_POPULATE 0x8000
#define MFD_HUGETLB 0x4
#define POLLIN 1

struct pollfd {
	int fd;
	short events, revents;
};

struct timespec {
	long seconds, nanoseconds;
};

#endif
