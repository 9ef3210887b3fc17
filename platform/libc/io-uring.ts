/**
 * A small io_uring (io_uring_setup(2)): Linux itself signals eventfds, and a thread sleeps on it.
 */
import { fromErrno } from '../errno.ts';
import { check, EAGAIN, EINTR, MAX_TRIES } from './check.ts';
import { close } from './fd.ts';
import { c, lastErrno, viewOf } from './ffi.ts';
import { MAP_SHARED, mmap, munmap, PROT_READ, PROT_WRITE, vaddrOf } from './mmap.ts';

const SYS_IO_URING_SETUP = 425;
const SYS_IO_URING_ENTER = 426;
const SYS_IO_URING_REGISTER = 427;

/**
 * struct io_uring_params (linux/io_uring.h): flags, and the offsets of words in the mapping of the
 * rings.
 */
const URING_PARAMS = { words: 30, cqEntries: 1, flags: 2, sqTail: 11, cqHead: 20, cqTail: 21, cqes: 25 };

const IORING_SETUP_CQSIZE = 8;
const IORING_REGISTER_EVENTFD = 4;
const IORING_UNREGISTER_EVENTFD = 5;
const IORING_ENTER_GETEVENTS = 1;
const IORING_ENTER_EXT_ARG = 8;
/** struct io_uring_getevents_arg: sigmask u64, sigmask_sz u32, min_wait_usec u32, ts u64. */
const GETEVENTS_ARG = { bytes: 24, ts: 16 };
const ETIME = 62;
const IORING_OFF_SQES = 0x1000_0000;
const RING_BYTES = 4096;

export interface IoUring {
  readonly fd: number;
  /** The vaddr of the page of its rings. It stays mapped until ioUringClose(). */
  readonly vaddr: number;
  /** Indices of 32-bit words in that page. */
  readonly sqTail: number;
  readonly cqHead: number;
  readonly cqTail: number;
  /** Index of the first completion. Each has 4 words: user data (2), result, flags. */
  readonly cqes: number;
}

/**
 * io_uring_setup(2) for one request and `completions` of them, at most 128. The ring is mapped. All
 * bytes of a new ring are 0, so its one request is an IORING_OP_NOP. EPERM
 * (kernel.io_uring_disabled, seccomp) or ENOSYS: io_uring is not allowed here. ENOMEM: the locked
 * memory of all rings of this user is used up (from Linux 6.14 on, 8 KiB each). SAFETY: the caller
 * unmaps the page when no thread uses it; execve unmaps it, too.
 */
export function ioUringSetup(completions: number): IoUring {
  const params = new Uint32Array(URING_PARAMS.words);
  params[URING_PARAMS.cqEntries] = completions;
  params[URING_PARAMS.flags] = IORING_SETUP_CQSIZE;
  const fd = check(Number(c.io_uring_setup(SYS_IO_URING_SETUP, 1, params)), 'io_uring_setup');
  try {
    const vaddr = mmap(0, RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    const word = (offset: number): number => params[offset]! / 4;
    const { sqTail, cqHead, cqTail, cqes } = URING_PARAMS;
    return { fd, vaddr, sqTail: word(sqTail), cqHead: word(cqHead), cqTail: word(cqTail), cqes: word(cqes) };
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** Unmaps and closes a ring. */
export function ioUringClose({ fd, vaddr }: Pick<IoUring, 'fd' | 'vaddr'>): void {
  munmap(vaddr, RING_BYTES);
  close(fd);
}

/**
 * Maps the page with the request of a ring; the caller munmaps it. SAFETY: as ringWords, which
 * makes words of it.
 */
export function mmapRequests(ring: number): number {
  return mmap(0, RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
}

/** io_uring_enter(2): sleeps until there is a completion, or a signal. */
export function ioUringWait(ring: number): void {
  if (c.io_uring_enter(SYS_IO_URING_ENTER, ring, 0, 1, IORING_ENTER_GETEVENTS, null, 0) >= 0) return;
  const errno = lastErrno();
  if (errno !== EINTR) throw fromErrno(errno, 'io_uring_enter');
}

/** A struct __kernel_timespec, and where it is. A shared buffer never moves. */
let timespec: { readonly words: BigInt64Array; readonly vaddr: number } | undefined;

/**
 * As ioUringWait, for timeoutMs at the longest. From Linux 5.11 on; EINVAL before.
 */
export function ioUringWaitFor(ring: number, timeoutMs: number): void {
  if (!timespec) {
    const words = new BigInt64Array(new SharedArrayBuffer(16));
    timespec = { words, vaddr: vaddrOf(new Uint8Array(words.buffer)) };
  }
  timespec.words[0] = BigInt(Math.floor(timeoutMs / 1000));
  timespec.words[1] = BigInt(Math.floor((timeoutMs % 1000) * 1e6));
  const arg = new DataView(new ArrayBuffer(GETEVENTS_ARG.bytes));
  arg.setBigUint64(GETEVENTS_ARG.ts, BigInt(timespec.vaddr), true);
  const flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
  if (c.io_uring_enter(SYS_IO_URING_ENTER, ring, 0, 1, flags, arg, GETEVENTS_ARG.bytes) >= 0) return;
  const errno = lastErrno();
  if (errno !== EINTR && errno !== ETIME) throw fromErrno(errno, 'io_uring_enter');
}

/**
 * Makes each completion signal the eventfd from now on. The ring holds the eventfd's context, as a
 * kernel's driver would, and not its file.
 */
export function ioUringRegisterEventfd(ring: number, fd: number): void {
  registerEventfd(ring, IORING_REGISTER_EVENTFD, new Int32Array([fd]));
}

export function ioUringUnregisterEventfd(ring: number): void {
  registerEventfd(ring, IORING_UNREGISTER_EVENTFD, null);
}

function registerEventfd(ring: number, op: number, fds: Int32Array | null): void {
  const result = c.io_uring_register(SYS_IO_URING_REGISTER, ring, op, fds, fds?.length ?? 0);
  check(Number(result), 'eventfd of a ring');
}

/** io_uring_enter(2): submits one request. HOT: 1.5 µs for a NOP. */
export function ioUringSubmit(ring: number): void {
  for (let tries = 1; c.io_uring_enter(SYS_IO_URING_ENTER, ring, 1, 0, 0, null, 0) !== 1; tries++) {
    const errno = lastErrno();
    if ((errno !== EAGAIN && errno !== EINTR) || tries === MAX_TRIES) throw fromErrno(errno, 'io_uring_enter');
  }
}

/** The words at each vaddr, kept in this thread for ever: a later ring may get the same address. */
const views = new Map<number, Int32Array>();

/**
 * The 4096 bytes at `vaddr` as words. SAFETY: no thread may use them when the page is unmapped
 * (ioUringClose).
 */
export function ringWords(vaddr: number): Int32Array {
  let words = views.get(vaddr);
  if (!words) {
    words = new Int32Array(viewOf(vaddr, RING_BYTES));
    views.set(vaddr, words);
  }
  return words;
}
