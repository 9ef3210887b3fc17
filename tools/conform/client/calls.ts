/**
 * The system calls of this very process. Calls on files of the host go through its client library,
 * calls on other files through libc.
 */
import { VFIO_GROUP_DIR } from '../../../iommu/abi/wire.ts';
import { EFD_NONBLOCK, eventfd } from '../../../platform/libc/eventfd.ts';
import { dup, getCloexec, open, setCloexec } from '../../../platform/libc/fd.ts';
import { read, write } from '../../../platform/libc/file-bytes.ts';
import { munmap, PROT_READ, PROT_WRITE } from '../../../platform/libc/mmap.ts';
import { wholePages } from '../../../platform/page.ts';
import type { SystemCalls } from '../steps/call-context.ts';
import type { State } from '../steps/state.ts';
import type { ClientKernel } from './client-kernel.ts';
import { load, mapObject, store } from './memory.ts';

const lasting = (fd: number): number => {
  setCloexec(fd, false);
  return fd;
};

export function callsOf(kernel: ClientKernel, state: State): SystemCalls {
  return {
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
    buffer(bytes) {
      const size = wholePages(Math.max(1, bytes.length));
      const start = mapObject(state, { fd: null, size, prot: PROT_READ | PROT_WRITE });
      const vaddr = start + size - bytes.length;
      store(vaddr, bytes);
      return {
        vaddr,
        bytes() {
          const now = new Uint8Array(bytes.length);
          load(vaddr, now);
          return now;
        },
        unmap: () => munmap(start, size),
      };
    },
  };
}
