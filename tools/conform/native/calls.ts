/**
 * The system calls of a native client's process, made by one of its threads. It knows nothing of
 * the recordings' offsets: those that VFIO_DEVICE_GET_REGION_INFO tells are translated here.
 */
import { constants } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';

import { offsetInObject, offsetOfPlace } from '../../../iommu/abi/device-object.ts';
import { RegionInfo, VFIO_DEVICE_GET_REGION_INFO, VFIO_PCI_OFFSET_SHIFT } from '../../../iommu/abi/vfio.ts';
import { efault, SysError } from '../../../platform/errno.ts';
import { EFD_NONBLOCK } from '../../../platform/libc/eventfd.ts';
import { F_GETFD, F_SETFD, O_RDWR } from '../../../platform/libc/fd.ts';
import { MAP_ANONYMOUS, MAP_PRIVATE, PROT_NONE, PROT_READ, PROT_WRITE } from '../../../platform/libc/mmap.ts';
import { RLIMIT_MEMLOCK, type Rlimit } from '../../../platform/libc/other-process.ts';
import { AT_FDCWD } from '../../../platform/libc/statx.ts';
import { PAGE_SIZE } from '../../../platform/page.ts';
import { viewOf } from '../../../platform/struct.ts';
import type { UserBuffer } from '../steps/call-context.ts';
import { mapBuffer } from '../steps/memory.ts';
import type { Fault, Placement, ProcessCalls } from '../steps/process-calls.ts';
import type { State } from '../steps/state.ts';
import type { NativeThread } from './channel.ts';

/** The longest argument. */
const ARGUMENT_BYTES = 1 << 20;
const REGION_BYTES = 2 ** VFIO_PCI_OFFSET_SHIFT;
const { SIGBUS, SIGSEGV } = constants.signals;
const FAULTS: Readonly<Record<number, Fault>> = { [SIGBUS]: 'SIGBUS', [SIGSEGV]: 'SIGSEGV' };

export class NativeCalls implements ProcessCalls {
  readonly #thread: NativeThread;
  readonly #state: State;
  /** End of the memory for arguments: behind it nothing is mapped. */
  #argumentsEnd: Promise<number> | undefined;

  constructor(thread: NativeThread, state: State) {
    this.#thread = thread;
    this.#state = state;
  }

  get pid(): number {
    return this.#thread.pid;
  }

  /** A call with an argument in memory; `arg` gets what the memory has afterwards. */
  async #withArgument(
    arg: Uint8Array,
    call: (vaddr: number) => readonly [string, ...(number | bigint)[]],
  ): Promise<number> {
    if (arg.length > ARGUMENT_BYTES) throw efault(`an argument of ${arg.length} bytes`);
    this.#argumentsEnd ??= this.#mapArguments();
    const vaddr = (await this.#argumentsEnd) - arg.length;
    const [op, ...args] = call(vaddr);
    return this.#thread.call(op, args, { vaddr, data: arg, into: arg });
  }

  async #mapArguments(): Promise<number> {
    const anywhere = { vaddr: 0, flags: MAP_PRIVATE | MAP_ANONYMOUS, fd: -1, offset: 0 };
    // SAFETY: nobody else knows the vaddr; execve and exit unmap it.
    const start = await this.mmap({ ...anywhere, length: ARGUMENT_BYTES + PAGE_SIZE, prot: PROT_NONE });
    await this.mprotect(start, ARGUMENT_BYTES, PROT_READ | PROT_WRITE);
    return start + ARGUMENT_BYTES;
  }

  open(path: string): Promise<number> {
    return this.#withArgument(Buffer.from(`${path}\0`), (vaddr) => ['openat', AT_FDCWD, vaddr, O_RDWR]);
  }

  async ioctl(fd: number, nr: number, arg: number | bigint | Uint8Array): Promise<number> {
    if (!(arg instanceof Uint8Array)) return this.#thread.call('ioctl', [fd, nr, arg]);
    try {
      return await this.#withArgument(arg, (vaddr) => ['ioctl', fd, nr, vaddr]);
    } finally {
      if (nr === VFIO_DEVICE_GET_REGION_INFO && arg.length >= RegionInfo.size) unplace(arg);
    }
  }

  pread(fd: number, offset: number | bigint, into: Uint8Array): Promise<number> {
    const place = placeOf(offset);
    return this.#withArgument(into, (vaddr) => ['pread64', fd, vaddr, into.length, place]);
  }

  pwrite(fd: number, offset: number | bigint, data: Uint8Array): Promise<number> {
    const place = placeOf(offset);
    return this.#withArgument(data, (vaddr) => ['pwrite64', fd, vaddr, data.length, place]);
  }

  async close(fd: number): Promise<void> {
    await this.#thread.call('close', [fd]);
  }

  dup(fd: number): Promise<number> {
    return this.#thread.call('dup', [fd]);
  }

  async getCloexec(fd: number): Promise<boolean> {
    return (await this.#thread.call('fcntl', [fd, F_GETFD])) !== 0;
  }

  async setCloexec(fd: number, on: boolean): Promise<void> {
    await this.#thread.call('fcntl', [fd, F_SETFD, Number(on)]);
  }

  eventfd(): Promise<number> {
    return this.#thread.call('eventfd2', [0, EFD_NONBLOCK]);
  }

  async readEventfd(fd: number): Promise<bigint> {
    const count = new Uint8Array(8);
    await this.#withArgument(count, (vaddr) => ['read', fd, vaddr, count.length]);
    return viewOf(count).getBigUint64(0, true);
  }

  async writeEventfd(fd: number, count: bigint): Promise<void> {
    const bytes = new Uint8Array(BigUint64Array.of(count).buffer);
    await this.#withArgument(bytes, (vaddr) => ['write', fd, vaddr, bytes.length]);
  }

  buffer(bytes: Uint8Array): Promise<UserBuffer> {
    return mapBuffer({ calls: this, state: this.#state }, bytes);
  }

  mmap({ vaddr, length, prot, flags, fd, offset }: Placement): Promise<number> {
    return this.#thread.call('mmap', [vaddr, length, prot, flags, fd, offset]);
  }

  async mapDevice(placement: Placement): Promise<number> {
    return this.mmap({ ...placement, offset: await this.#placeToMap(placement) });
  }

  /** The offset to map, from what VFIO_DEVICE_GET_REGION_INFO tells of the region. */
  async #placeToMap({ fd, offset }: Placement): Promise<number> {
    const index = Math.floor(offset / REGION_BYTES);
    const info = RegionInfo.bytes({ argsz: RegionInfo.size, index });
    try {
      await this.#withArgument(info, (vaddr) => ['ioctl', fd, VFIO_DEVICE_GET_REGION_INFO, vaddr]);
    } catch (error) {
      if (error instanceof SysError) return placeOf(offset); // of no device, or of no region
      throw error;
    }
    return Number(RegionInfo.read(viewOf(info)).offset) + (offset % REGION_BYTES);
  }

  async munmap(vaddr: number, length: number): Promise<void> {
    await this.#thread.call('munmap', [vaddr, length]);
  }

  async mprotect(vaddr: number, length: number, prot: number): Promise<void> {
    await this.#thread.call('mprotect', [vaddr, length, prot]);
  }

  async mlock(vaddr: number, length: number): Promise<void> {
    await this.#thread.call('mlock', [vaddr, length]);
  }

  memfd(name: string, flags: number): Promise<number> {
    return this.#withArgument(Buffer.from(`${name}\0`), (vaddr) => ['memfd_create', vaddr, flags]);
  }

  async ftruncate(fd: number, size: number): Promise<void> {
    await this.#thread.call('ftruncate', [fd, size]);
  }

  async load(vaddr: number, into: Uint8Array): Promise<Fault | undefined> {
    return FAULTS[await this.#thread.request('load', [], { vaddr, into })];
  }

  async store(vaddr: number, data: Uint8Array): Promise<Fault | undefined> {
    return FAULTS[await this.#thread.request('store', [], { vaddr, data })];
  }

  async getMemlock(): Promise<Rlimit> {
    const limit = new Uint8Array(16);
    await this.#withArgument(limit, (vaddr) => ['prlimit64', 0, RLIMIT_MEMLOCK, 0, vaddr]);
    const view = viewOf(limit);
    return { soft: view.getBigUint64(0, true), hard: view.getBigUint64(8, true) };
  }

  async setMemlock({ soft, hard }: Rlimit): Promise<void> {
    const limit = new Uint8Array(BigUint64Array.of(soft, hard).buffer);
    await this.#withArgument(limit, (vaddr) => ['prlimit64', 0, RLIMIT_MEMLOCK, vaddr, 0]);
  }

  async setuid(uid: number): Promise<void> {
    await this.#thread.call('setuid', [uid]);
  }

  async handleSignal(signal: number): Promise<void> {
    await this.#thread.call('handle', [signal]);
  }

  sleep(ms: number): Promise<void> {
    return delay(ms);
  }

  /** The wait status of a child that ends (wait4(2)). */
  async waitFor(pid: number): Promise<number> {
    const status = new Uint8Array(4);
    await this.#withArgument(status, (vaddr) => ['wait4', pid, vaddr, 0, 0]);
    return viewOf(status).getInt32(0, true);
  }
}

/** The offset that VFIO_DEVICE_GET_REGION_INFO would have told, for one of the recordings. */
const placeOf = (offset: number | bigint): number => {
  const at = BigInt.asIntN(64, BigInt(offset));
  return Number(at < 0n ? at : offsetInObject(at, false));
};

/** The recordings have the offsets of real kernels. */
function unplace(info: Uint8Array): void {
  const view = viewOf(info);
  RegionInfo.write(view, { offset: offsetOfPlace(RegionInfo.read(view).offset) });
}
