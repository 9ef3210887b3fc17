/**
 * A client that is pid 1 of a PID namespace and root of a user namespace: DMA, an exec that keeps
 * the container, and what capabilities are worth there. argv: socket, and after the exec the
 * container's fd and the device's.
 */

import type { SysError } from '../../../platform/errno.ts';
import { setCloexec } from '../../../platform/libc/fd.ts';
import { ftruncate } from '../../../platform/libc/file-bytes.ts';
import { memfdCreate } from '../../../platform/libc/memfd.ts';
import { MAP_SHARED, mmap, PROT_READ, PROT_WRITE } from '../../../platform/libc/mmap.ts';
import { getRlimit, RLIMIT_MEMLOCK, setRlimit } from '../../../platform/libc/other-process.ts';
import { gettid } from '../../../platform/libc/this-process.ts';
import { mapDma, unmapDma } from '../../../vmm/client/dma.ts';
import { Edu } from '../../../vmm/client/drivers/edu.ts';
import { kernel, openDeviceOf, say, setCommand } from './script.ts';

const PAGES = 4;
const SIZE = PAGES * 4096;
const IOVA = 0x10_0000;

const [, , , kept] = process.argv;
if (kept === undefined) before();
else after(Number(kept));

function memory(): number {
  const fd = memfdCreate('ram', 0);
  ftruncate(fd, SIZE);
  return mmap(0, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

function before(): void {
  const { container, device, registers, groupFd, fd } = openDeviceOf(0, '0000:00:02.0');
  const vaddr = memory();
  mapDma(kernel, container, { iova: IOVA, size: SIZE, vaddr });
  setCommand(device, 6);
  new Edu(registers).writeBus(IOVA, 16);
  setRlimit(0, RLIMIT_MEMLOCK, { soft: BigInt(SIZE), hard: getRlimit(0, RLIMIT_MEMLOCK).hard });
  let beyondLimit = 'ok';
  try {
    mapDma(kernel, container, { iova: IOVA + SIZE, size: SIZE, vaddr });
  } catch (error) {
    beyondLimit = (error as SysError).code;
  }
  say({ pid: process.pid, isLeader: gettid() === process.pid, uid: process.getuid!(), beyondLimit });
  for (const keep of [0, 1, 2, container, groupFd, fd]) setCloexec(keep, false);
  const [, script, socket] = process.argv;
  kernel.execve(
    process.execPath,
    [process.execPath, ...process.execArgv, script!, socket!, String(container)],
    process.env,
  );
}

/** The next image: it has the container, and unmaps what the last one has mapped. */
function after(container: number): void {
  say({ pid: process.pid, unmapped: unmapDma(kernel, container, { iova: IOVA, size: SIZE }) });
}
