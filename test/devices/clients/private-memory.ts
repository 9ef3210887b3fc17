/**
 * Private anonymous memory as DMA target, over an exec. argv: socket; after the exec also fds of
 * container and device, and vaddr of the memory that was. Says at each step what it sees, and what
 * the host has on its books.
 */
import { VFIO_DMA_MAP_FLAG_VADDR } from '../../../iommu/abi/vfio.ts';
import { setCloexec } from '../../../platform/libc/fd.ts';
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, mmap, PROT_READ, PROT_WRITE } from '../../../platform/libc/mmap.ts';
import { execve } from '../../../platform/libc/this-process.ts';
import { AddressSpace } from '../../../platform/process.ts';
import { askHost } from '../../../vmm/client/control.ts';
import { invalidateVaddrs, mapDma, unmapDma } from '../../../vmm/client/dma.ts';
import { Capture } from '../../../vmm/client/drivers/capture.ts';
import { BYTES, IOVA, oneRound, runRing } from './capture-ring.ts';
import { deviceOf, kernel, openDeviceOf, say } from './script.ts';

const BDF = '0000:00:02.0';
const memory = new AddressSpace(process.pid);

/** Whether the ring's first slot, or any other byte, holds anything. */
function isWritten(vaddr: number): boolean {
  const bytes = new Uint8Array(BYTES);
  memory.read(vaddr, bytes);
  return bytes.some((byte) => byte !== 0);
}

function tell(capture: Capture, vaddr: number): void {
  oneRound(capture);
  say({ written: isWritten(vaddr), faults: capture.faults(), ...books() });
}

/** Pages that the host has pinned, and charged to this process. */
function books(): { readonly pinned: number; readonly locked: number | undefined } {
  const { pinnedPages, clients } = askHost(kernel, { op: 'info' });
  return { pinned: pinnedPages, locked: clients.find(({ pid }) => pid === process.pid)?.lockedPages };
}

function beforeExec(): never {
  const vaddr = mmap(0, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const opened = openDeviceOf(0, BDF);
  const { container, groupFd, fd } = opened;
  mapDma(kernel, container, { iova: IOVA, size: BYTES, vaddr });
  tell(runRing(opened), vaddr);
  for (const kept of [0, 1, 2, container, groupFd, fd]) setCloexec(kept, false);
  const [node, script, socket] = process.argv as [string, string, string];
  const words = [container, fd, vaddr].map(String);
  return execve(node, [node, ...process.execArgv, script, socket, ...words], process.env);
}

function afterExec(container: number, deviceFd: number, vaddr: number): void {
  // new memory, where the old was
  mmap(vaddr, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  const capture = new Capture(deviceOf(deviceFd, BDF).registers);
  tell(capture, vaddr);
  invalidateVaddrs(kernel, container);
  // The translation still leads to the old memory.
  mapDma(kernel, container, { iova: IOVA, size: BYTES, vaddr, flags: VFIO_DMA_MAP_FLAG_VADDR });
  tell(capture, vaddr);
  capture.stop();
  const unmapped = unmapDma(kernel, container, { iova: IOVA, size: BYTES });
  say({ unmapped, ...books() });
}

const [, , , containerFd, deviceFd, vaddr] = process.argv;
if (containerFd === undefined) beforeExec();
else afterExec(Number(containerFd), Number(deviceFd), Number(vaddr));
