/**
 * Private anonymous memory as DMA target, over an exec. argv: socket; after the exec also fds of container and device, and vaddr of the
 * memory that was. Says at each step what it sees, and what the host has on its books.
 */
import * as grabber from '../../../devices/capture/regs.ts';
import type { HostInfo } from '../../../iommu/abi/control.ts';
import { DmaUnmap, VFIO_IOMMU_UNMAP_DMA } from '../../../iommu/abi/vfio.ts';
import { CONTROL_PATH } from '../../../iommu/abi/wire.ts';
import {
  execve,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_PRIVATE,
  mmap,
  PROT_READ,
  PROT_WRITE,
  setCloexec,
} from '../../../platform/libc.ts';
import { AddressSpace } from '../../../platform/process.ts';
import { viewOf } from '../../../platform/struct.ts';
import { Container } from '../../../vmm/client/container.ts';
import { describeDevice, VfioDevice } from '../../../vmm/client/device.ts';
import { BYTES, IOVA, oneRound, runRing } from './capture-ring.ts';
import { kernel, openDevice, read32, say, write32 } from './script.ts';

const BDF = '0000:00:02.0';
const memory = new AddressSpace(process.pid);

/** Whether the ring's first slot, or any other byte, holds anything. */
function isWritten(vaddr: number): boolean {
  const bytes = new Uint8Array(BYTES);
  memory.read(vaddr, bytes);
  return bytes.some((byte) => byte !== 0);
}

function tell(device: VfioDevice, vaddr: number): void {
  oneRound(device);
  say({ written: isWritten(vaddr), faults: read32(device, grabber.REG_FAULTS), ...books() });
}

/** Pages that the host has pinned, and charged to this process. */
function books(): { readonly pinned: number; readonly locked: number | undefined } {
  const fd = kernel.open(CONTROL_PATH);
  const { pinnedPages, clients } = kernel.board(fd, { op: 'info' }) as HostInfo;
  kernel.close(fd);
  return { pinned: pinnedPages, locked: clients.find(({ pid }) => pid === process.pid)?.lockedPages };
}

function beforeExec(): never {
  const vaddr = mmap(0, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const { container, groupFd, fd, device } = openDevice(0, BDF);
  container.map({ iova: IOVA, offset: 0, size: BYTES }, vaddr);
  runRing(device);
  tell(device, vaddr);
  for (const kept of [0, 1, 2, container.fd, groupFd, fd]) setCloexec(kept, false);
  const [node, script, socket] = process.argv as [string, string, string];
  const words = [container.fd, fd, vaddr].map(String);
  return execve(node, [node, ...process.execArgv, script, socket, ...words], process.env);
}

function afterExec(containerFd: number, deviceFd: number, vaddr: number): void {
  mmap(vaddr, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0); // new memory, where the old was
  const device = new VfioDevice(describeDevice(kernel, deviceFd, BDF), kernel);
  tell(device, vaddr);
  const ranges = [{ iova: IOVA, offset: 0, size: BYTES }];
  const container = new Container(kernel, { fd: containerFd, groups: [], ranges });
  container.invalidateVaddrs();
  container.updateVaddrs(vaddr); // the translation still leads to the old memory
  tell(device, vaddr);
  write32(device, grabber.REG_CTRL, 0);
  const unmap = DmaUnmap.bytes({ argsz: DmaUnmap.size, iova: BigInt(IOVA), size: BigInt(BYTES) });
  kernel.ioctl(containerFd, VFIO_IOMMU_UNMAP_DMA, unmap);
  say({ unmapped: Number(DmaUnmap.read(viewOf(unmap)).size), ...books() });
}

const [, , , containerFd, deviceFd, vaddr] = process.argv;
if (containerFd === undefined) beforeExec();
else afterExec(Number(containerFd), Number(deviceFd), Number(vaddr));
