/**
 * libc through koffi: the only file with foreign functions. Every function here throws SysError
 * with the errno of the call. Addresses (vaddr) are numbers: user space on Linux ends below 2^56
 * and in practice below 2^47. FFI calls block the calling thread. A worker may sit in `poll` or
 * `recv`; a main thread must not.
 */
import { codeOf, fromErrno, SysError } from './errno.ts';
import { type Koffi, loadKoffi } from './koffi.ts';

export { koffiAddon } from './koffi.ts';

export const PROT_NONE = 0;
export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const MAP_SHARED = 0x01;
export const MAP_PRIVATE = 0x02;
export const MAP_FIXED = 0x10;
export const MAP_ANONYMOUS = 0x20;
export const MAP_NORESERVE = 0x4000;
export const MAP_FIXED_NOREPLACE = 0x100000;
export const MADV_DONTNEED = 4;
export const MFD_CLOEXEC = 1;
export const MFD_ALLOW_SEALING = 2;
export const MFD_HUGETLB = 4; // of the default huge page size
export const MFD_HUGE_2MB = 21 << 26;
export const MFD_HUGE_1GB = 30 << 26;
export const EFD_CLOEXEC = 0o2000000;
export const EFD_NONBLOCK = 0o4000;
export const POLLIN = 1;
export const POLLPRI = 2;
export const POLLOUT = 4;
export const POLLERR = 8;
export const POLLHUP = 0x10;
export const POLLRDHUP = 0x2000;
export const RLIMIT_NOFILE = 7;
export const RLIMIT_MEMLOCK = 8;
export const F_SEAL_SEAL = 1;
export const F_SEAL_SHRINK = 2;
export const F_SEAL_GROW = 4;
export const F_SEAL_WRITE = 8;
export const F_SEAL_FUTURE_WRITE = 16; // mappings that are writable stay so

export const O_RDWR = 2;
export const O_NOCTTY = 0o400;
export const O_NONBLOCK = 0o4000;
export const O_PATH = 0o10000000;
const O_CLOEXEC = 0o2000000;
const F_GETFD = 1;
const F_SETFD = 2;
const F_ADD_SEALS = 1033;
const F_GET_SEALS = 1034;
const FD_CLOEXEC = 1;
const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const SOCK_NONBLOCK = 0o4000;
const BACKLOG = 511; // Node's
const LOCK_EX = 2;
const LOCK_NB = 4;
const SOL_SOCKET = 1;
const SEEK_END = 2;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;
const SO_PEERCRED = 17;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x4000_0000;
const SCM_RIGHTS = 1;
const SYS_GETTID = { x64: 186, arm64: 178 }[process.arch as 'x64' | 'arm64'] ?? 186;
const SYS_PIDFD_OPEN = 434;
const SYS_IO_URING_SETUP = 425;
const SYS_IO_URING_ENTER = 426;
const SYS_IO_URING_REGISTER = 427;
const SYS_IO_SETUP = { x64: 206, arm64: 0 }[process.arch as 'x64' | 'arm64'] ?? 206;
const SYS_IO_GETEVENTS = { x64: 208, arm64: 4 }[process.arch as 'x64' | 'arm64'] ?? 208;
const SYS_IO_SUBMIT = { x64: 209, arm64: 2 }[process.arch as 'x64' | 'arm64'] ?? 209;
const SYS_PIDFD_GETFD = 438;
const PR_SET_DUMPABLE = 4;
const PR_SET_PTRACER = 0x59616d61;
const PR_SET_PDEATHSIG = 1;

const SIGNATURES = {
  memfd_create: 'int memfd_create(const char *name, unsigned int flags)',
  ftruncate: 'int ftruncate(int fd, int64_t len)',
  mmap: 'intptr_t mmap(uintptr_t addr, size_t len, int prot, int flags, int fd, int64_t off)',
  munmap: 'int munmap(uintptr_t addr, size_t len)',
  mprotect: 'int mprotect(uintptr_t addr, size_t len, int prot)',
  madvise: 'int madvise(uintptr_t addr, size_t len, int advice)',
  mlock: 'int mlock(uintptr_t addr, size_t len)',
  memmove: 'uintptr_t memmove(void *d, void *s, size_t n)',
  eventfd: 'int eventfd(unsigned int init, int flags)',
  read: 'intptr_t read(int fd, void *buf, size_t n)',
  write: 'intptr_t write(int fd, void *buf, size_t n)',
  pread: 'intptr_t pread(int fd, void *buf, size_t n, int64_t off)',
  pwrite: 'intptr_t pwrite(int fd, void *buf, size_t n, int64_t off)',
  preadv2: 'intptr_t preadv2(int fd, void *iov, int n, int64_t off, int flags)',
  lseek: 'int64_t lseek(int fd, int64_t off, int whence)',
  epoll_create1: 'int epoll_create1(int flags)',
  epoll_ctl: 'int epoll_ctl(int epfd, int op, int fd, void *event)',
  epoll_wait: 'int epoll_wait(int epfd, void *events, int max, int timeout)',
  poll: 'int poll(void *fds, unsigned long n, int timeout)',
  socket: 'int socket(int domain, int type, int protocol)',
  connect: 'int connect(int fd, void *addr, unsigned int len)',
  bind: 'int bind(int fd, void *addr, unsigned int len)',
  listen: 'int listen(int fd, int backlog)',
  chmod: 'int chmod(const char *path, unsigned int mode)',
  flock: 'int flock(int fd, int op)',
  send: 'intptr_t send(int fd, void *buf, size_t n, int flags)',
  recv: 'intptr_t recv(int fd, void *buf, size_t n, int flags)',
  sendmsg: 'intptr_t sendmsg(int fd, void *msg, int flags)',
  recvmsg: 'intptr_t recvmsg(int fd, void *msg, int flags)',
  getsockopt: 'int getsockopt(int fd, int level, int name, void *val, void *len)',
  fcntl: 'int fcntl(int fd, int cmd, int arg)',
  open: 'int open(const char *path, int flags)',
  statx: 'int statx(int dirfd, const char *path, int flags, unsigned int mask, void *buf)',
  dup: 'int dup(int fd)',
  close: 'int close(int fd)',
  ioctl: 'int ioctl(int fd, unsigned long req, void *arg)',
  syscall: 'long syscall(long n, uintptr_t a, uintptr_t b, uintptr_t c, void *d, uintptr_t e, uintptr_t f)',
  io_uring_setup: 'long syscall(long n, unsigned int entries, void *params)',
  io_uring_register: 'long syscall(long n, int fd, unsigned int op, void *arg, unsigned int count)',
  io_uring_enter:
    'long syscall(long n, int fd, unsigned int submit, unsigned int wait, unsigned int flags, void *arg, size_t size)',
  io_setup: 'long syscall(long n, unsigned int events, void *context)',
  io_submit: 'long syscall(long n, uintptr_t context, long count, void *iocbs)',
  io_getevents: 'long syscall(long n, uintptr_t context, long min, long max, void *events, void *timeout)',
  process_vm_readv:
    'intptr_t process_vm_readv(int pid, void *l, unsigned long ln, void *r, unsigned long rn, unsigned long f)',
  process_vm_writev:
    'intptr_t process_vm_writev(int pid, void *l, unsigned long ln, void *r, unsigned long rn, unsigned long f)',
  execve: 'int execve(const char *path, const char **argv, const char **envp)',
  capget: 'int capget(void *header, void *data)',
  signal: 'void *signal(int signum, void *handler)',
  prctl: 'int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)',
  prlimit: 'int prlimit(int pid, int resource, void *newLimit, void *oldLimit)',
};

let loaded: Koffi | undefined;
let library: ReturnType<Koffi['load']> | undefined;

function koffi(): Koffi {
  loaded ??= loadKoffi();
  return loaded;
}

/**
 * The functions. Each is bound at its first call, because a program that starts from a heap
 * snapshot has none bound and needs few.
 */
const c = {} as Record<keyof typeof SIGNATURES, ReturnType<ReturnType<Koffi['load']>['func']>>;
for (const [name, signature] of Object.entries(SIGNATURES)) {
  const get = (): unknown => {
    library ??= koffi().load('libc.so.6');
    const value = library.func(signature);
    Object.defineProperty(c, name, { value });
    return value;
  };
  Object.defineProperty(c, name, { get, configurable: true });
}

const EINTR = 4;
const EAGAIN = 11;

/** Throws the errno of a failed call; passes the result through otherwise. */
function check(result: number, what: string): number {
  if (result < 0) throw fromErrno(koffi().errno(), what);
  return result;
}

/** As check, but calls again when a signal interrupted the call. */
function retry(call: () => number, what: string): number {
  for (;;) {
    const result = call();
    if (result >= 0) return result;
    const errno = koffi().errno();
    if (errno !== EINTR) throw fromErrno(errno, what);
  }
}

/** memfd_create(2). The fd survives execve unless MFD_CLOEXEC is given. */
export function memfdCreate(name: string, flags = MFD_CLOEXEC): number {
  return check(c.memfd_create(name, flags), `memfd_create ${name}`);
}

export function ftruncate(fd: number, size: number): void {
  check(c.ftruncate(fd, size), 'ftruncate');
}

/**
 * Adds seals to a memfd; they can never be taken off. EPERM: it was made without MFD_ALLOW_SEALING.
 * EINVAL: no memfd.
 */
export function addSeals(fd: number, seals: number): void {
  check(c.fcntl(fd, F_ADD_SEALS, seals), `seal ${fd}`);
}

/** EINVAL: no memfd. */
export function getSeals(fd: number): number {
  return check(c.fcntl(fd, F_GET_SEALS, 0), `seals of ${fd}`);
}

/**
 * File size in bytes, by lseek(SEEK_END): a third of fstat's cost. It moves the file offset, which
 * no caller uses.
 */
export function fileSize(fd: number): number {
  return check(Number(c.lseek(fd, 0, SEEK_END)), `lseek ${fd}`);
}

export interface Extent {
  readonly start: number;
  readonly end: number;
}

/**
 * The first extent [start, end) at or behind `at` that the file has pages for; undefined when there
 * is none. Other bytes read as 0.
 */
export function dataExtent(fd: number, at: number): Extent | undefined {
  const start = Number(c.lseek(fd, at, SEEK_DATA));
  if (start < 0) {
    const error = fromErrno(koffi().errno(), `lseek ${fd}`);
    if (error.code === 'ENXIO') return undefined;
    throw error;
  }
  // The rest may have been cut off meanwhile.
  const end = Number(c.lseek(fd, start, SEEK_HOLE));
  return end > start ? { start, end } : undefined;
}

/**
 * mmap(2); returns the vaddr. SAFETY: the caller owns the range and must munmap it; execve removes
 * it.
 */
export function mmap(vaddr: number, length: number, prot: number, flags: number, fd: number, offset: number): number {
  const result = Number(c.mmap(vaddr, length, prot, flags, fd, offset));
  if (result === -1) throw fromErrno(koffi().errno(), 'mmap');
  return result;
}

export function munmap(vaddr: number, length: number): void {
  check(c.munmap(vaddr, length), 'munmap');
}

/**
 * madvise(2). SAFETY: MADV_DONTNEED takes away what private pages hold; of a shared mapping it only
 * drops page-table entries.
 */
export function madvise(vaddr: number, length: number, advice: number): void {
  check(c.madvise(vaddr, length, advice), 'madvise');
}

export function mprotect(vaddr: number, length: number, prot: number): void {
  check(c.mprotect(vaddr, length, prot), 'mprotect');
}

/**
 * mlock(2): the pages are present when it returns. ENOMEM beyond RLIMIT_MEMLOCK or where nothing is
 * mapped.
 */
export function mlock(vaddr: number, length: number): void {
  check(c.mlock(vaddr, length), 'mlock');
}

/**
 * The vaddr of the first byte of a typed array. SAFETY: valid as long as the buffer lives; never
 * for a resizable one.
 */
export function vaddrOf(bytes: Uint8Array | Int32Array): number {
  return Number(c.memmove(bytes, bytes, 0));
}

export function eventfd(initial = 0, flags = EFD_CLOEXEC): number {
  return check(c.eventfd(initial, flags), 'eventfd');
}

/** read(2) into `buf`; number of bytes, 0 at end of file. */
export function read(fd: number, buf: Uint8Array): number {
  return retry(() => Number(c.read(fd, buf, buf.length)), 'read');
}

/** write(2) of `buf`; number of bytes written. */
export function write(fd: number, buf: Uint8Array): number {
  return retry(() => Number(c.write(fd, buf, buf.length)), 'write');
}

export function pread(fd: number, buf: Uint8Array, offset: number): number {
  return retry(() => Number(c.pread(fd, buf, buf.length, offset)), 'pread');
}

export function pwrite(fd: number, buf: Uint8Array, offset: number): number {
  return retry(() => Number(c.pwrite(fd, buf, buf.length, offset)), 'pwrite');
}

const one = new Uint8Array(new BigUint64Array([1n]).buffer);

/**
 * Adds 1 to an eventfd's count (what a kernel's eventfd_signal does). A full counter is not an
 * error (EAGAIN on a non-blocking one).
 */
export function eventfdSignal(fd: number): void {
  const result = Number(c.write(fd, one, 8));
  if (result < 0 && koffi().errno() !== EAGAIN) throw fromErrno(koffi().errno(), `eventfd ${fd}`);
}

const RWF_NOWAIT = 8;
const drained = new Uint8Array(8);

/**
 * Reads and clears an eventfd's count, and never sleeps, whatever flags the other users of the file
 * have set; false when there was nothing to read.
 */
export function eventfdDrain(fd: number): boolean {
  const iovec = new BigUint64Array([BigInt(vaddrOf(drained)), 8n]);
  if (Number(c.preadv2(fd, iovec, 1, -1, RWF_NOWAIT)) >= 0) return true;
  const errno = koffi().errno();
  if (errno === EAGAIN || errno === EINTR) return false;
  throw fromErrno(errno, `eventfd ${fd}`);
}

/** Reads and clears an eventfd's count; 0 when a non-blocking one is empty. */
export function eventfdRead(fd: number): number {
  const count = new BigUint64Array(1);
  const result = Number(c.read(fd, count, 8));
  if (result < 0) {
    if (koffi().errno() === EAGAIN) return 0;
    throw fromErrno(koffi().errno(), `eventfd ${fd}`);
  }
  return Number(count[0]);
}

/**
 * struct io_uring_params (linux/io_uring.h): flags, and the offsets of words in the mapping of the
 * rings.
 */
const URING_PARAMS = { words: 30, cqEntries: 1, flags: 2, sqTail: 11, cqHead: 20, cqTail: 21, cqes: 25 };
const IORING_SETUP_CQSIZE = 8;
const IORING_REGISTER_EVENTFD = 4;
const IORING_UNREGISTER_EVENTFD = 5;
const IORING_ENTER_GETEVENTS = 1;
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
  const errno = koffi().errno();
  if (errno !== EINTR) throw fromErrno(errno, 'io_uring_enter');
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
    const errno = koffi().errno();
    if ((errno !== EAGAIN && errno !== EINTR) || tries === MAX_TRIES) throw fromErrno(errno, 'io_uring_enter');
  }
}

/**
 * Tries before giving up on EAGAIN, which says that Linux had no memory for a request at that
 * moment.
 */
const MAX_TRIES = 1000;

/** The words at each vaddr, kept in this thread for ever: a later ring may get the same address. */
const views = new Map<number, Int32Array>();

/**
 * The 4096 bytes at `vaddr` as words. SAFETY: no thread may use them when the page is unmapped
 * (ioUringClose).
 */
export function ringWords(vaddr: number): Int32Array {
  let words = views.get(vaddr);
  if (!words) {
    words = new Int32Array(koffi().view(vaddr, RING_BYTES));
    views.set(vaddr, words);
  }
  return words;
}

/** struct iocb (linux/aio_abi.h). */
const IOCB = { opcode: 16, fd: 20, events: 24, flags: 56, eventfd: 60, bytes: 64 };
const IOCB_CMD_POLL = 5;
const IOCB_FLAG_RESFD = 1;
const IO_EVENT_BYTES = 32;
const AIO_EVENTS = 128;
/** The number of requests after which their completions are taken. */
const AIO_BATCH = 32;

/**
 * The means by which this thread asks Linux to signal an eventfd: an aio request whose completion
 * signals it (io_submit(2), IOCB_FLAG_RESFD).
 */
interface AioSignaller {
  readonly context: number;
  readonly iocb: DataView;
  readonly iocbs: BigUint64Array;
  readonly events: Uint8Array;
  readonly noTime: BigInt64Array;
  pending: number;
}
let aio: AioSignaller | undefined;

/**
 * Makes the aio context. ENOSYS, EPERM: not allowed here; EAGAIN: fs.aio-max-nr. SAFETY: the
 * context lasts until the process ends or execs.
 */
function aioSignaller(): AioSignaller {
  if (aio) return aio;
  const context = new BigUint64Array(1);
  check(Number(c.io_setup(SYS_IO_SETUP, AIO_EVENTS, context)), 'io_setup');
  const iocb = new DataView(new ArrayBuffer(IOCB.bytes));
  iocb.setUint16(IOCB.opcode, IOCB_CMD_POLL, true);
  iocb.setUint32(IOCB.events, POLLIN | POLLOUT, true);
  iocb.setUint32(IOCB.flags, IOCB_FLAG_RESFD, true);
  aio = {
    context: Number(context[0]),
    iocb,
    iocbs: new BigUint64Array([BigInt(vaddrOf(new Uint8Array(iocb.buffer)))]),
    events: new Uint8Array(IO_EVENT_BYTES * AIO_EVENTS),
    noTime: new BigInt64Array(2),
    pending: 0,
  };
  return aio;
}

/**
 * eventfd_signal() by Linux itself, where io_uring is not allowed: it never blocks, and a count at
 * its maximum stays there. The request is a poll of the eventfd. An eventfd is readable or writable
 * at any time, so the request completes at once. Errors as aioSignaller. HOT: 1.5 µs.
 */
export function aioSignal(fd: number): void {
  const signaller = aioSignaller();
  const { context, iocb, iocbs } = signaller;
  iocb.setInt32(IOCB.fd, fd, true);
  iocb.setInt32(IOCB.eventfd, fd, true);
  if (++signaller.pending >= AIO_BATCH) takeCompletions(signaller);
  for (let tries = 1; c.io_submit(SYS_IO_SUBMIT, context, 1, iocbs) !== 1; tries++) {
    const errno = koffi().errno();
    if (errno !== EAGAIN || tries === MAX_TRIES) throw fromErrno(errno, `io_submit for eventfd ${fd}`);
    takeCompletions(signaller);
  }
}

function takeCompletions(signaller: AioSignaller): void {
  const { context, events, noTime } = signaller;
  c.io_getevents(SYS_IO_GETEVENTS, context, 0, AIO_EVENTS, events, noTime);
  signaller.pending = 0;
}

/** Whether aioSignal works in this process. Throws what io_setup(2) says. */
export function aioPrepare(): void {
  aioSignaller();
}

export interface PollFd {
  readonly fd: number;
  readonly events: number;
}

/**
 * poll(2). timeoutMs −1 waits for ever: only for callers that are woken by one of the fds.
 * Returns revents per entry, or undefined on time-out; a signal counts as a time-out.
 */
export function poll(fds: readonly PollFd[], timeoutMs: number): number[] | undefined {
  const view = new DataView(new ArrayBuffer(fds.length * 8));
  fds.forEach((entry, i) => {
    view.setInt32(i * 8, entry.fd, true);
    view.setInt16(i * 8 + 4, entry.events, true);
  });
  const result = c.poll(view, fds.length, timeoutMs);
  if (result < 0 && koffi().errno() !== EINTR) throw fromErrno(koffi().errno(), 'poll');
  if (result <= 0) return undefined;
  return fds.map((_, i) => view.getInt16(i * 8 + 6, true));
}

const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;
export const EPOLLONESHOT = 0x4000_0000;
export const EPOLLET = 0x8000_0000;
/** struct epoll_event { u32 events; u64 data }, packed on x86-64 only. */
const EPOLL_EVENT = process.arch === 'x64' ? { bytes: 12, data: 4 } : { bytes: 16, data: 8 };
const MAX_EPOLL_EVENTS = 64;

/** epoll_create1(2) */
export function epollCreate(): number {
  return check(c.epoll_create1(EPOLL_CLOEXEC), 'epoll_create1');
}

function epollControl(epoll: number, op: number, fd: number, events: number): void {
  const event = new DataView(new ArrayBuffer(EPOLL_EVENT.bytes));
  event.setUint32(0, events, true);
  event.setUint32(EPOLL_EVENT.data, fd, true);
  check(c.epoll_ctl(epoll, op, fd, event), 'epoll_ctl');
}

/**
 * Adds an entry whose data is the fd. The entry does not hold the file: it lives as long as the
 * file does, whichever processes close their fds of it.
 */
export function epollAdd(epoll: number, fd: number, events: number): void {
  epollControl(epoll, EPOLL_CTL_ADD, fd, events);
}

export function epollModify(epoll: number, fd: number, events: number): void {
  epollControl(epoll, EPOLL_CTL_MOD, fd, events);
}

export function epollRemove(epoll: number, fd: number): void {
  epollControl(epoll, EPOLL_CTL_DEL, fd, 0);
}

/**
 * epoll_wait(2): fds of entries that are ready, as they were added; none after timeoutMs (−1:
 * never) or a signal.
 */
export function epollWait(epoll: number, timeoutMs: number): readonly number[] {
  const events = new DataView(new ArrayBuffer(MAX_EPOLL_EVENTS * EPOLL_EVENT.bytes));
  const count = c.epoll_wait(epoll, events, MAX_EPOLL_EVENTS, timeoutMs);
  if (count < 0 && koffi().errno() !== EINTR) throw fromErrno(koffi().errno(), 'epoll_wait');
  if (count <= 0) return NO_FDS;
  return Array.from({ length: count }, (_, i) => events.getUint32(i * EPOLL_EVENT.bytes + EPOLL_EVENT.data, true));
}

/**
 * An epoll instance that is only asked, never waited on. It tells which fds have hung up, with one
 * system call however many fds there are.
 */
export class HangUpSet {
  readonly #epoll = check(c.epoll_create1(EPOLL_CLOEXEC), 'epoll_create1');
  readonly #events = new DataView(new ArrayBuffer(MAX_EPOLL_EVENTS * EPOLL_EVENT.bytes));

  add(fd: number): void {
    const event = new DataView(new ArrayBuffer(EPOLL_EVENT.bytes));
    event.setUint32(0, POLLRDHUP, true); // EPOLLHUP is always reported
    event.setUint32(EPOLL_EVENT.data, fd, true);
    check(c.epoll_ctl(this.#epoll, EPOLL_CTL_ADD, fd, event), 'epoll_ctl');
  }

  /** Removes a fd. No effect for one that is not in the set: a closed fd has left it already. */
  remove(fd: number): void {
    c.epoll_ctl(this.#epoll, EPOLL_CTL_DEL, fd, null);
  }

  /** Fds that have hung up. If there are many, only some of them. */
  hungUp(): readonly number[] {
    const count = c.epoll_wait(this.#epoll, this.#events, MAX_EPOLL_EVENTS, 0);
    if (count <= 0) return NO_FDS; // EINTR as well: this call never waits
    return Array.from({ length: count }, (_, i) =>
      this.#events.getUint32(i * EPOLL_EVENT.bytes + EPOLL_EVENT.data, true),
    );
  }

  close(): void {
    close(this.#epoll);
  }
}

const NO_FDS: readonly number[] = [];

/** sun_path holds 108 bytes with its NUL (unix(7)). */
export const MAX_SOCKET_PATH = 107;

/** A struct sockaddr_un. ENAMETOOLONG for a path over 107 bytes. */
function unixAddress(path: string): Buffer {
  const name = Buffer.from(path);
  if (name.length > MAX_SOCKET_PATH) {
    throw new SysError('ENAMETOOLONG', `${path}: a socket path has at most ${MAX_SOCKET_PATH} bytes`);
  }
  const address = Buffer.alloc(2 + name.length + 1);
  address.writeUInt16LE(AF_UNIX, 0);
  name.copy(address, 2);
  return address;
}

/**
 * Makes a close-on-exec UNIX stream socket and calls `use` with it and the address of `path`.
 * Returns the fd, which is closed if `use` throws.
 */
function unixSocket(path: string, flags: number, use: (fd: number, address: Buffer) => void): number {
  const address = unixAddress(path);
  const fd = check(c.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0), 'socket');
  try {
    use(fd, address);
  } catch (error) {
    c.close(fd);
    throw error;
  }
  return fd;
}

/**
 * A blocking, close-on-exec UNIX stream socket connected to `path`. ENAMETOOLONG for a path over
 * 107 bytes.
 */
export function connectUnix(path: string): number {
  return unixSocket(path, 0, (fd, address) => {
    retry(() => c.connect(fd, address, address.length), `connect ${path}`);
  });
}

/** As connectUnix, but never waits: EAGAIN when a process listens and its queue is full. */
export function connectUnixNow(path: string): number {
  return unixSocket(path, SOCK_NONBLOCK, (fd, address) => {
    check(c.connect(fd, address, address.length), `connect ${path}`);
  });
}

/**
 * A close-on-exec UNIX stream socket that listens at `path`. The socket file gets mode `mode`.
 * EADDRINUSE if the path exists.
 */
export function bindUnix(path: string, mode: number): number {
  return unixSocket(path, 0, (fd, address) => {
    check(c.bind(fd, address, address.length), `bind ${path}`);
    check(c.chmod(path, mode), `chmod ${path}`); // whatever the umask is; nobody can connect yet
    check(c.listen(fd, BACKLOG), `listen ${path}`);
  });
}

/** flock(2), exclusive; false while another open file has it. */
export function lockNow(fd: number): boolean {
  try {
    check(c.flock(fd, LOCK_EX | LOCK_NB), 'flock');
    return true;
  } catch (error) {
    if (codeOf(error) === 'EAGAIN') return false;
    throw error;
  }
}

/** Sends all of `buf`; EPIPE when the peer is gone (never SIGPIPE). */
export function sendAll(fd: number, buf: Uint8Array): void {
  let sent = 0;
  while (sent < buf.length) {
    const rest = sent === 0 ? buf : buf.subarray(sent);
    sent += retry(() => Number(c.send(fd, rest, rest.length, MSG_NOSIGNAL)), 'send');
  }
}

/** recv(2); number of bytes, 0 when the peer has closed. */
export function recv(fd: number, buf: Uint8Array): number {
  return retry(() => Number(c.recv(fd, buf, buf.length, 0)), 'recv');
}

/**
 * A struct msghdr of 64-bit Linux, and behind it what it points to: one struct iovec, and a struct
 * cmsghdr with room for one fd.
 */
const MESSAGE = { iov: 16, iovlen: 24, control: 32, controllen: 40, firstIovec: 56, cmsg: 72, size: 96 };
const CMSG = { level: 8, type: 12, fd: 16, length: 20, space: 24 };

/**
 * Makes a struct msghdr over `data`. SAFETY: the struct points into itself and into `data`; both
 * must live until the call is over.
 */
function messageWith(data: Uint8Array): DataView {
  const message = new Uint8Array(MESSAGE.size);
  const view = new DataView(message.buffer);
  const setPointer = (at: number, value: number): void => view.setBigUint64(at, BigInt(value), true);
  const vaddr = vaddrOf(message);
  setPointer(MESSAGE.iov, vaddr + MESSAGE.firstIovec);
  setPointer(MESSAGE.iovlen, 1);
  setPointer(MESSAGE.control, vaddr + MESSAGE.cmsg);
  setPointer(MESSAGE.controllen, CMSG.space);
  setPointer(MESSAGE.firstIovec, vaddrOf(data));
  setPointer(MESSAGE.firstIovec + 8, data.length);
  return view;
}

/** Sends `data` in one go, and with it a duplicate of `passed` (SCM_RIGHTS, unix(7)). */
export function sendWithFd(fd: number, data: Uint8Array, passed: number): void {
  const message = messageWith(data);
  message.setBigUint64(MESSAGE.cmsg, BigInt(CMSG.length), true);
  message.setInt32(MESSAGE.cmsg + CMSG.level, SOL_SOCKET, true);
  message.setInt32(MESSAGE.cmsg + CMSG.type, SCM_RIGHTS, true);
  message.setInt32(MESSAGE.cmsg + CMSG.fd, passed, true);
  const sent = retry(() => Number(c.sendmsg(fd, message, MSG_NOSIGNAL)), 'sendmsg');
  if (sent !== data.length) throw new SysError('EMSGSIZE', `sendmsg: ${sent} of ${data.length} bytes`);
}

export interface ReceivedFd {
  /** Bytes; 0 when the peer has closed. */
  readonly count: number;
  /** Close-on-exec, and the caller's to close. */
  readonly passed: number | undefined;
}

/** recv(2), and the fd that came with it. */
export function recvWithFd(fd: number, into: Uint8Array): ReceivedFd {
  const message = messageWith(into);
  const count = retry(() => Number(c.recvmsg(fd, message, MSG_CMSG_CLOEXEC)), 'recvmsg');
  const length = message.getBigUint64(MESSAGE.controllen, true);
  const hasFd = length >= BigInt(CMSG.length) && message.getInt32(MESSAGE.cmsg + CMSG.type, true) === SCM_RIGHTS;
  return { count, passed: hasFd ? message.getInt32(MESSAGE.cmsg + CMSG.fd, true) : undefined };
}

export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** SO_PEERCRED: the process that connected this UNIX socket (pid as of connect time). */
export function peerCredentials(fd: number): PeerCredentials {
  const value = new Int32Array(3);
  const length = new Uint32Array([12]);
  check(c.getsockopt(fd, SOL_SOCKET, SO_PEERCRED, value, length), 'SO_PEERCRED');
  return { pid: value[0]!, uid: value[1]!, gid: value[2]! };
}

/** Sets or clears FD_CLOEXEC. Node sets it on 0–2 too: clear it there before an execve. */
export function setCloexec(fd: number, on: boolean): void {
  const flags = check(c.fcntl(fd, F_GETFD, 0), `fcntl ${fd}`);
  check(c.fcntl(fd, F_SETFD, on ? flags | FD_CLOEXEC : flags & ~FD_CLOEXEC), `fcntl ${fd}`);
}

export function getCloexec(fd: number): boolean {
  return (check(c.fcntl(fd, F_GETFD, 0), `fcntl ${fd}`) & FD_CLOEXEC) !== 0;
}

/**
 * open(2), close-on-exec. Use it for a fd that another thread will close: Node remembers the fds
 * that a worker opens with fs.openSync, and closes those numbers once more when the worker ends.
 */
export function open(path: string, flags = O_RDWR): number {
  return check(c.open(path, flags | O_CLOEXEC), `open ${path}`);
}

const AT_FDCWD = -100;
const AT_EMPTY_PATH = 0x1000;
const AT_STATX_DONT_SYNC = 0x4000;
const STATX_TYPE = 1;
const STATX_INO = 0x100;
/** struct statx, linux/stat.h. */
const STATX = { mode: 28, ino: 32, devMajor: 136, devMinor: 140, size: 256 };
const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
const statxBuffer = new DataView(new ArrayBuffer(STATX.size));

export interface FileIdentity {
  readonly major: number;
  readonly minor: number;
  readonly inode: number;
  readonly regular: boolean;
}

/**
 * Identifies the file at a path from what the kernel knows of it already. It does not ask a file
 * system whose server may be slow or dead (AT_STATX_DONT_SYNC), so this never waits. Undefined when
 * there is no file.
 */
export function identify(path: string): FileIdentity | undefined {
  return statxIdentity(AT_FDCWD, path, AT_STATX_DONT_SYNC);
}

/** As identify, for an open fd, which may be one of O_PATH. */
export function identifyFd(fd: number): FileIdentity | undefined {
  return statxIdentity(fd, '', AT_STATX_DONT_SYNC | AT_EMPTY_PATH);
}

function statxIdentity(dirfd: number, path: string, flags: number): FileIdentity | undefined {
  if (c.statx(dirfd, path, flags, STATX_TYPE | STATX_INO, statxBuffer) !== 0) return undefined;
  return {
    major: statxBuffer.getUint32(STATX.devMajor, true),
    minor: statxBuffer.getUint32(STATX.devMinor, true),
    inode: statxBuffer.getUint32(STATX.ino, true) + statxBuffer.getUint32(STATX.ino + 4, true) * 2 ** 32,
    regular: (statxBuffer.getUint16(STATX.mode, true) & S_IFMT) === S_IFREG,
  };
}

export function dup(fd: number): number {
  return check(c.dup(fd), `dup ${fd}`);
}

export function close(fd: number): void {
  check(c.close(fd), `close ${fd}`);
}

/** ioctl(2) with a struct argument. */
export function ioctl(fd: number, request: number, arg: Uint8Array | BigUint64Array): number {
  return check(c.ioctl(fd, request, arg), `ioctl ${request.toString(16)}`);
}

export function gettid(): number {
  return Number(c.syscall(SYS_GETTID, 0, 0, 0, null, 0, 0));
}

/** A fd that refers to process `pid`; close it. ESRCH when there is none. */
export function pidfdOpen(pid: number): number {
  return check(Number(c.syscall(SYS_PIDFD_OPEN, pid, 0, 0, null, 0, 0)), `pidfd_open ${pid}`);
}

/**
 * Duplicates fd `target` of the process behind `pidfd`; needs the right to ptrace it (EPERM). EBADF
 * when it has no such fd.
 */
export function pidfdGetfd(pidfd: number, target: number): number {
  return check(Number(c.syscall(SYS_PIDFD_GETFD, pidfd, target >>> 0, 0, null, 0, 0)), `pidfd_getfd ${target}`);
}

function transferVm(write: boolean, pid: number, vaddr: number, buf: Uint8Array): number {
  const local = new BigUint64Array([BigInt(vaddrOf(buf)), BigInt(buf.length)]);
  const remote = new BigUint64Array([BigInt(vaddr), BigInt(buf.length)]);
  const call = write ? c.process_vm_writev : c.process_vm_readv;
  return check(Number(call(pid, local, 1, remote, 1, 0)), write ? 'process_vm_writev' : 'process_vm_readv');
}

/**
 * Reads memory of another process; number of bytes (short at a hole after the first page). EFAULT,
 * ESRCH, EPERM.
 */
export function processVmRead(pid: number, vaddr: number, buf: Uint8Array): number {
  return transferVm(false, pid, vaddr, buf);
}

/** Writes memory of another process; as processVmRead. */
export function processVmWrite(pid: number, vaddr: number, buf: Uint8Array): number {
  return transferVm(true, pid, vaddr, buf);
}

/**
 * execve(2). Does not return on success: every thread and mapping of this process ends, fds with
 * FD_CLOEXEC close. On failure (ENOENT, EACCES, ENOEXEC, …) it throws and nothing has changed.
 * `process.execve` is not used: it aborts on failure.
 */
export function execve(
  path: string,
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): never {
  const envp = Object.entries(env).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]));
  c.execve(path, [...argv, null], [...envp, null]);
  throw fromErrno(koffi().errno(), `execve ${path}`);
}

/**
 * Lets process `pid` ptrace this one where Yama restricts it; no effect (and no error) where Yama
 * is absent.
 */
export function allowPtraceBy(pid: number): void {
  c.prctl(PR_SET_PTRACER, pid, 0, 0, 0);
}

/**
 * Makes this process dumpable again, which a change of the uid has ended (prctl(2)): processes that
 * may ptrace this uid can then look at it again.
 */
export function setDumpable(): void {
  c.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

/** signal(2) with SIG_DFL: restores the kernel's own disposition in place of Node's. */
export function defaultSignal(signal: number): void {
  c.signal(signal, null);
}

/**
 * Sets the signal that this process gets when the thread that started it ends. The setting survives
 * an execve of an ordinary program.
 */
export function setParentDeathSignal(signal: number): void {
  check(c.prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0), 'prctl PR_SET_PDEATHSIG');
}

const LINUX_CAPABILITY_VERSION_3 = 0x20080522;

/**
 * capget(2): the effective capabilities of process `pid`, as a bitmap of the first 32. ESRCH when
 * there is none.
 */
export function effectiveCapabilities(pid: number): number {
  const data = new Uint32Array(6); // two of {effective, permitted, inheritable}
  check(c.capget(new Uint32Array([LINUX_CAPABILITY_VERSION_3, pid]), data), `capget ${pid}`);
  return data[0]!;
}

export interface Rlimit {
  readonly soft: bigint;
  readonly hard: bigint;
}

/** prlimit(2): reads a resource limit of process `pid`; RLIM_INFINITY is 2^64−1. */
export function getRlimit(pid: number, resource: number): Rlimit {
  const old = new BigUint64Array(2);
  check(c.prlimit(pid, resource, null, old), `prlimit ${pid}`);
  return { soft: old[0]!, hard: old[1]! };
}

/** prlimit(2): sets a resource limit of process `pid`. */
export function setRlimit(pid: number, resource: number, limit: Rlimit): void {
  check(c.prlimit(pid, resource, new BigUint64Array([limit.soft, limit.hard]), null), `prlimit ${pid}`);
}
