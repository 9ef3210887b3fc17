/**
 * The system calls of this very process. Calls on files of the host go through its client library,
 * calls on other files through libc.
 */
import { isMainThread } from 'node:worker_threads';

import { VFIO_GROUP_DIR } from '../../../iommu/abi/wire.ts';
import { EFD_NONBLOCK, eventfd } from '../../../platform/libc/eventfd.ts';
import { dup, getCloexec, open, setCloexec } from '../../../platform/libc/fd.ts';
import { ftruncate, read, write } from '../../../platform/libc/file-bytes.ts';
import { memfdCreate } from '../../../platform/libc/memfd.ts';
import { mlock, mmap, mprotect } from '../../../platform/libc/mmap.ts';
import { getRlimit, RLIMIT_MEMLOCK, setRlimit } from '../../../platform/libc/other-process.ts';
import type { KernelClient } from '../../../vmm/client/kernel-client.ts';
import { mapBuffer } from '../steps/memory.ts';
import type { ProcessCalls } from '../steps/process-calls.ts';
import type { State } from '../steps/state.ts';
import { cpuLoad, cpuStore } from './bars.ts';
import { handleSignal } from './signals.ts';
import { becomeUser } from './user.ts';

const lasting = (fd: number): number => {
  setCloexec(fd, false);
  return fd;
};

export function callsOf(kernel: KernelClient, state: State): ProcessCalls {
  const calls: ProcessCalls = {
    pid: process.pid,
    open: (path) => lasting(path.startsWith(VFIO_GROUP_DIR) ? kernel.open(path) : open(path)),
    ioctl: (fd, nr, arg) => kernel.ioctl(fd, nr, arg),
    pread: (fd, offset, into) => kernel.pread(fd, offset, into),
    pwrite: (fd, offset, data) => kernel.pwrite(fd, offset, data),
    close: (fd) => kernel.close(fd),
    dup,
    getCloexec,
    setCloexec,
    eventfd: () => lasting(eventfd(0, EFD_NONBLOCK)),
    readEventfd(fd) {
      const count = new BigUint64Array(1);
      read(fd, new Uint8Array(count.buffer));
      return count[0]!;
    },
    writeEventfd: (fd, count) => void write(fd, new Uint8Array(BigUint64Array.of(count).buffer)),
    buffer: (bytes) => mapBuffer({ calls, state }, bytes),
    // SAFETY: where the script says; execve and exit unmap it
    mmap: ({ vaddr, length, prot, flags, fd, offset }) => mmap(vaddr, length, prot, flags, fd, offset),
    mapDevice: (placement) => kernel.mmap(placement),
    munmap: (vaddr, length) => kernel.munmap(vaddr, length),
    mprotect,
    mlock,
    memfd: memfdCreate,
    ftruncate,
    load: (vaddr, into) => cpuLoad(kernel, vaddr, into),
    store: (vaddr, bytes) => cpuStore(kernel, vaddr, bytes),
    getMemlock: () => getRlimit(0, RLIMIT_MEMLOCK),
    setMemlock: (limit) => setRlimit(0, RLIMIT_MEMLOCK, limit),
    setuid: becomeUser,
    /** A thread leaves this to the main thread, which hears of the change. */
    handleSignal(signal) {
      if (isMainThread) handleSignal(signal);
    },
    sleep(ms) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms); // nobody wakes this
    },
  };
  return calls;
}
