/**
 * The door to foreign functions: those of libc, through koffi. Only the files of this folder use
 * it. The functions that these export throw SysError with the errno of the call. Addresses (vaddr)
 * are numbers: user space on Linux ends below 2^56 and in practice below 2^47. A call blocks the
 * calling thread. A worker may sit in `poll` or `recv`; a main thread must not.
 */
import { type Koffi, loadKoffi } from './koffi.ts';

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
  inotify_init1: 'int inotify_init1(int flags)',
  inotify_add_watch: 'int inotify_add_watch(int fd, const char *path, uint32_t mask)',
  epoll_create1: 'int epoll_create1(int flags)',
  epoll_ctl: 'int epoll_ctl(int epfd, int op, int fd, void *event)',
  epoll_wait: 'int epoll_wait(int epfd, void *events, int max, int timeout)',
  poll: 'int poll(void *fds, unsigned long n, int timeout)',
  socket: 'int socket(int domain, int type, int protocol)',
  socketpair: 'int socketpair(int domain, int type, int protocol, void *fds)',
  connect: 'int connect(int fd, void *addr, unsigned int len)',
  bind: 'int bind(int fd, void *addr, unsigned int len)',
  listen: 'int listen(int fd, int backlog)',
  accept4: 'int accept4(int fd, void *address, void *length, int flags)',
  chmod: 'int chmod(const char *path, unsigned int mode)',
  flock: 'int flock(int fd, int op)',
  send: 'intptr_t send(int fd, void *buf, size_t n, int flags)',
  sendto: 'intptr_t sendto(int fd, void *buf, size_t n, int flags, void *to, unsigned int length)',
  recv: 'intptr_t recv(int fd, void *buf, size_t n, int flags)',
  sendmsg: 'intptr_t sendmsg(int fd, void *msg, int flags)',
  recvmsg: 'intptr_t recvmsg(int fd, void *msg, int flags)',
  getsockopt: 'int getsockopt(int fd, int level, int name, void *val, void *len)',
  fcntl: 'int fcntl(int fd, int cmd, int arg)',
  fcntl_struct: 'int fcntl(int fd, int cmd, void *arg)',
  open: 'int open(const char *path, int flags)',
  open_creating: 'int open(const char *path, int flags, unsigned int mode)',
  statx: 'int statx(int dirfd, const char *path, int flags, unsigned int mask, void *buf)',
  dup: 'int dup(int fd)',
  dup3: 'int dup3(int fd, int to, int flags)',
  close: 'int close(int fd)',
  ioctl: 'int ioctl(int fd, unsigned long req, void *arg)',
  ioctl_number: 'int ioctl(int fd, unsigned long req, unsigned long arg)',
  openat2: 'long syscall(long n, int dirfd, const char *path, void *how, size_t size)',
  getdents64: 'long syscall(long n, int fd, void *buf, size_t size)',
  readlinkat: 'intptr_t readlinkat(int dirfd, const char *path, void *buf, size_t size)',
  fstatat: 'int fstatat(int dirfd, const char *path, void *buf, int flags)',
  seccomp: 'long syscall(long n, unsigned int op, unsigned int flags, void *arg)',
  syscall: 'long syscall(long n, uintptr_t a, uintptr_t b, uintptr_t c, void *d, uintptr_t e, uintptr_t f)',
  futex_waitv: 'long syscall(long n, void *words, unsigned int count, unsigned int flags, void *until, int clock)',
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
  tcgetattr: 'int tcgetattr(int fd, void *mode)',
  tcsetattr: 'int tcsetattr(int fd, int when, void *mode)',
  _exit: 'void _exit(int status)',
  execve: 'int execve(const char *path, const char **argv, const char **envp)',
  waitpid: 'int waitpid(int pid, void *status, int options)',
  ptrace: 'long ptrace(int request, int pid, uintptr_t addr, void *data)',
  ptrace_number: 'long ptrace(int request, int pid, uintptr_t addr, uintptr_t data)',
  capget: 'int capget(void *header, void *data)',
  signal: 'void *signal(int signum, void *handler)',
  sched_getcpu: 'int sched_getcpu()',
  sched_getaffinity: 'int sched_getaffinity(int tid, size_t size, void *cpus)',
  sched_setaffinity: 'int sched_setaffinity(int tid, size_t size, void *cpus)',
  sched_yield: 'int sched_yield()',
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
export const c = {} as Record<keyof typeof SIGNATURES, ReturnType<ReturnType<Koffi['load']>['func']>>;

for (const [name, signature] of Object.entries(SIGNATURES)) {
  const get = (): unknown => {
    library ??= koffi().load('libc.so.6');
    const value = library.func(signature);
    Object.defineProperty(c, name, { value });
    return value;
  };
  Object.defineProperty(c, name, { get, configurable: true });
}

/** errno of the last call of this thread. */
export const lastErrno = (): number => koffi().errno();

/** The memory at `vaddr`. SAFETY: nobody may use the buffer when the memory is unmapped. */
export const viewOf = (vaddr: number, length: number): ArrayBuffer => koffi().view(vaddr, length);
