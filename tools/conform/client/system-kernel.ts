/**
 * System calls as any program makes them, by libc, under a supervisor (`livevmm with`). Only the
 * control device, which no program knows, is reached by the client library.
 */
import { offsetInObject, offsetOfPlace } from '../../../iommu/abi/device-object.ts';
import { RegionInfo, VFIO_DEVICE_GET_REGION_INFO } from '../../../iommu/abi/vfio.ts';
import { CONTROL_PATH } from '../../../iommu/abi/wire.ts';
import { efault } from '../../../platform/errno.ts';
import { close, ioctlNumber, open } from '../../../platform/libc/fd.ts';
import { pread, pwrite } from '../../../platform/libc/file-bytes.ts';
import {
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  mmap,
  mprotect,
  munmap,
  PROT_NONE,
  PROT_READ,
  PROT_WRITE,
} from '../../../platform/libc/mmap.ts';
import { processVmRead, processVmWrite } from '../../../platform/libc/other-process.ts';
import { execve } from '../../../platform/libc/this-process.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';
import { viewOf } from '../../../platform/struct.ts';
import type { MmapOptions } from '../../../vmm/client/bar-mapping.ts';
import { KernelClient } from '../../../vmm/client/kernel-client.ts';
import type { ClientKernel } from './client-kernel.ts';

/** The longest argument of an ioctl. */
const ARGUMENT_BYTES = 1 << 20;

export class SystemKernel implements ClientKernel {
  readonly #socketPath: string;
  #client: KernelClient | undefined;
  readonly #controls = new Set<number>();
  /** End of the memory for arguments: behind it nothing is mapped. */
  #argumentsEnd = 0;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  open(path: string): number {
    if (path !== CONTROL_PATH) return open(path);
    this.#client ??= new KernelClient(this.#socketPath);
    const fd = this.#client.open(path);
    this.#controls.add(fd);
    return fd;
  }

  close(fd: number): void {
    if (this.#controls.delete(fd)) this.#client!.close(fd);
    else close(fd);
  }

  readonly control: KernelClient['control'] = (fd, request) => this.#client!.control(fd, request);

  /** The memory of an argument ends where the argument does. */
  ioctl(fd: number, nr: number, arg: number | bigint | Uint8Array): number {
    if (!(arg instanceof Uint8Array)) return ioctlNumber(fd, nr, BigInt.asUintN(64, BigInt(arg)));
    if (arg.length > ARGUMENT_BYTES) throw efault(`an argument of ${arg.length} bytes`);
    const vaddr = this.#memoryEnd() - arg.length;
    if (arg.length > 0) processVmWrite(process.pid, vaddr, arg);
    try {
      return ioctlNumber(fd, nr, BigInt(vaddr));
    } finally {
      if (arg.length > 0) processVmRead(process.pid, vaddr, arg);
      if (nr === VFIO_DEVICE_GET_REGION_INFO && arg.length >= RegionInfo.size) unplace(arg);
    }
  }

  #memoryEnd(): number {
    if (this.#argumentsEnd !== 0) return this.#argumentsEnd;
    // SAFETY: nobody else knows the vaddr; execve and exit unmap it.
    const start = mmap(0, ARGUMENT_BYTES + PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(start, ARGUMENT_BYTES, PROT_READ | PROT_WRITE);
    this.#argumentsEnd = start + ARGUMENT_BYTES;
    return this.#argumentsEnd;
  }

  pread(fd: number, offset: number | bigint, into: Uint8Array): number {
    return pread(fd, into, placeOf(offset, false));
  }

  pwrite(fd: number, offset: number | bigint, data: Uint8Array): number {
    return pwrite(fd, data, placeOf(offset, false));
  }

  mmap({ fd, offset, length, prot, flags, vaddr = 0 }: MmapOptions): number {
    // SAFETY: fresh, or where the caller says; his until munmap(). Execve removes it.
    return mmap(vaddr, length, prot, flags, fd, placeOf(offset, true));
  }

  munmap(vaddr: number, length: number): void {
    munmap(vaddr, length);
  }

  /** Linux has made the mapping: it has bytes. */
  mappedBar(): undefined {
    return undefined;
  }

  execve(path: string, argv: readonly string[], env: Readonly<Record<string, string | undefined>>): never {
    return execve(path, argv, env);
  }
}

/** The offset that VFIO_DEVICE_GET_REGION_INFO would have told, for one of the recordings. */
const placeOf = (offset: number | bigint, isRam: boolean): number => {
  const at = BigInt.asIntN(64, BigInt(offset));
  return Number(at < 0n ? at : offsetInObject(at, isRam));
};

/** The recordings have the offsets of real kernels. */
function unplace(info: Uint8Array): void {
  const view = viewOf(info);
  RegionInfo.write(view, { offset: offsetOfPlace(RegionInfo.read(view).offset) });
}
