/**
 * Numbers of the system calls that a supervisor looks at, as in asm/unistd_64.h and
 * asm-generic/unistd.h.
 */

/** The calls of every architecture; those that arm64 does not have are absent there. */
export type CallName =
  | 'open'
  | 'stat'
  | 'lstat'
  | 'access'
  | 'readlink'
  | 'openat'
  | 'openat2'
  | 'newfstatat'
  | 'statx'
  | 'faccessat'
  | 'faccessat2'
  | 'readlinkat'
  | 'getxattr'
  | 'lgetxattr'
  | 'listxattr'
  | 'llistxattr'
  | 'ioctl'
  | 'mmap'
  | 'pread64'
  | 'pwrite64'
  | 'preadv'
  | 'pwritev'
  | 'preadv2'
  | 'pwritev2'
  | 'execve'
  | 'execveat'
  | 'io_uring_setup';

export interface Architecture {
  /** AUDIT_ARCH_*, linux/audit.h. */
  readonly audit: number;
  readonly numbers: Readonly<Partial<Record<CallName, number>>>;
}

/** Calls that are younger than the split: the same number everywhere. */
const SHARED = { openat2: 437, faccessat2: 439, io_uring_setup: 425 };

export const X64: Architecture = {
  audit: 0xc000_003e,
  numbers: {
    ...SHARED,
    ...{ open: 2, stat: 4, lstat: 6, access: 21, readlink: 89 },
    ...{ openat: 257, newfstatat: 262, statx: 332, faccessat: 269, readlinkat: 267 },
    ...{ ioctl: 16, pread64: 17, pwrite64: 18, preadv: 295, pwritev: 296, preadv2: 327, pwritev2: 328 },
    ...{ getxattr: 191, lgetxattr: 192, listxattr: 194, llistxattr: 195 },
    ...{ mmap: 9, execve: 59, execveat: 322 },
  },
};

export const ARM64: Architecture = {
  audit: 0xc000_00b7,
  numbers: {
    ...SHARED,
    ...{ openat: 56, newfstatat: 79, statx: 291, faccessat: 48, readlinkat: 78 },
    ...{ ioctl: 29, pread64: 67, pwrite64: 68, preadv: 69, pwritev: 70, preadv2: 286, pwritev2: 287 },
    ...{ getxattr: 8, lgetxattr: 9, listxattr: 11, llistxattr: 12 },
    ...{ mmap: 222, execve: 221, execveat: 281 },
  },
};

/** That of this machine; undefined where a supervisor does not work. */
export const thisArchitecture: Architecture | undefined = { x64: X64, arm64: ARM64 }[process.arch as string];
