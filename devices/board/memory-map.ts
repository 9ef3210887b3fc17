/**
 * The authoritative memory map of the board: it says what lies at each range of pa. Every thread
 * with a PhysicalMemory has a port here. A change is posted to all ports before the call that made
 * it returns. Ranges are [start, end).
 */
import { fstatSync } from 'node:fs';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { MSI_WINDOW_START } from '../../iommu/abi/msi-window.ts';
import type { PhysicalChange } from '../../iommu/bus/physical.ts';
import type { PaRange } from '../../iommu/bus/range.ts';
import type { BarRange } from '../../iommu/bus/targets/bar.ts';
import type { RegistersRange } from '../../iommu/bus/targets/registers.ts';
import { codeOf, efault, einval, enoent, enomem } from '../../platform/errno.ts';
import { hex, hexRange } from '../../platform/hex.ts';
import { close, open } from '../../platform/libc/fd.ts';
import { ftruncate } from '../../platform/libc/file-bytes.ts';
import {
  addSeals,
  F_SEAL_GROW,
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
  MFD_CLOEXEC,
  memfdCreate,
} from '../../platform/libc/memfd.ts';
import { MAP_SHARED, mmap, munmap, PROT_READ, PROT_WRITE } from '../../platform/libc/mmap.ts';
import { MappingPool, type PooledMapping } from '../../platform/mapping-pool.ts';
import {
  createMemory,
  isSealedAgainstWriting,
  MAX_MAPPING,
  type ObjectId,
  objectId,
  sealAgainstShrinking,
} from '../../platform/memory.ts';
import { PAGE_SIZE, wholePages } from '../../platform/page.ts';

const GIB = 2 ** 30;
/**
 * The address of MSI stores. Its iova equals its pa, so that a device without an IOMMU in front can
 * use it, too.
 */
const DOORBELL_START = MSI_WINDOW_START;
const KERNEL_RAM_START = 4 * GIB;
/** Memory that outlives the kernel. */
const RESERVED_START = 32 * GIB;
/**
 * The start of the memory objects. They are 1 GiB aligned, so that the largest IOMMU page can map
 * them.
 */
const OBJECTS_START = 64 * GIB;
const OBJECTS_END = 2 ** 46;

export interface AttachedObject {
  readonly range: PaRange & { readonly kind: 'ram' };
  readonly id: ObjectId;
}

interface Entry {
  readonly range: PaRange;
  /** Releases the memory behind the range. */
  readonly release: () => void;
  /** The identity, for memory objects. */
  readonly id?: ObjectId;
}

export class MemoryMap {
  readonly #entries = new Map<number, Entry>();
  /** The ranges of all entries, in order. */
  readonly #taken: PaRange[] = [];
  readonly #pool: MappingPool;
  readonly #ports: MessagePort[] = [];
  /** The other ends, which are threads' now. */
  readonly #receivers: MessagePort[] = [];
  /**
   * Called after a detach: it wakes the threads, which drain their ports and release the memory.
   */
  readonly #onDetach: () => void;
  readonly #functionObjects: number[] = [];
  /** The memory of BARs that share it, by its name. */
  readonly #shared = new Map<string, { readonly fd: number; readonly size: number }>();
  /** /proc/self/mem. */
  #ownMemory: number | undefined;
  /** Next-fit: an address is used again as late as possible. */
  #next = OBJECTS_START;

  constructor(onDetach: () => void, pool = new MappingPool()) {
    this.#onDetach = onDetach;
    this.#pool = pool;
  }

  /** The receiving end of a new port for one thread, and the map as it is now. */
  subscribe(): { readonly port: MessagePort; readonly ranges: readonly PaRange[] } {
    const { port1, port2 } = new MessageChannel();
    port1.unref();
    this.#ports.push(port1);
    this.#receivers.push(port2);
    return { port: port2, ranges: this.ranges() };
  }

  /** A thread has ended: its port is not posted to any more. */
  unsubscribe(receiver: MessagePort): void {
    const at = this.#receivers.indexOf(receiver);
    if (at < 0) return;
    this.#receivers.splice(at, 1);
    for (const port of this.#ports.splice(at, 1)) port.close();
  }

  ranges(): PaRange[] {
    return [...this.#entries.values()].map(({ range }) => range);
  }

  /** Objects that were attached (kernel RAM is not among them). */
  objects(): AttachedObject[] {
    return [...this.#entries.values()].flatMap(({ range, id }) => (range.kind === 'ram' && id ? [{ range, id }] : []));
  }

  /** The kernel's own memory. */
  addKernelRam(size: number): PaRange {
    const fd = createMemory('kernel-ram', size);
    try {
      const mapping = this.#pool.map(fd, size);
      const range = { kind: 'ram', start: KERNEL_RAM_START, size, buffer: mapping.buffer } as const;
      this.#add({ range, release: () => mapping.release() });
      return range;
    } finally {
      close(fd);
    }
  }

  /**
   * Reserves `size` bytes that outlive the kernel. The first `kernelSize` bytes are RAM from now
   * on; the rest becomes RAM by attachReserved().
   */
  addReserved(
    size: number,
    kernelSize: number,
  ): { readonly start: number; readonly size: number; readonly kernelSize: number } {
    const fd = createMemory('pkernfs', kernelSize);
    try {
      const mapping = this.#pool.map(fd, kernelSize);
      const range = { kind: 'ram', start: RESERVED_START, size: kernelSize, buffer: mapping.buffer } as const;
      this.#add({ range, release: () => mapping.release() });
      return { start: RESERVED_START, size, kernelSize };
    } finally {
      close(fd);
    }
  }

  /**
   * Makes [start, start + size) of the reserved memory RAM, all zero. It is an object of its own,
   * of a size that nobody can change: clients map it. ENOMEM; EINVAL beyond 4 GiB.
   */
  attachReserved(start: number, size: number): void {
    const fd = createMemory(`pkernfs-${hex(start)}`, size);
    try {
      addSeals(fd, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
      const mapping = this.#pool.map(fd, size);
      const release = (): void => {
        mapping.release();
        close(fd);
      };
      this.#add({ range: { kind: 'ram', start, size, buffer: mapping.buffer, fd }, id: objectId(fd), release });
    } catch (error) {
      close(fd);
      throw error;
    }
  }

  /** `pages`: where interrupt pages are. */
  addDoorbell(interrupts: SharedArrayBuffer, pages?: SharedArrayBuffer): PaRange {
    const place = { start: DOORBELL_START, size: PAGE_SIZE };
    const range = { kind: 'doorbell', ...place, interrupts, ...(pages ? { pages } : {}) } as const;
    this.#add({ range, release: () => {} });
    return range;
  }

  /** Adds a BAR of registers, at its address on the bus. `size` is the BAR's own. */
  addRegisters(bar: Omit<RegistersRange, 'kind'>): void {
    this.#add({ range: { kind: 'registers', ...bar, size: wholePages(bar.size) }, release: () => {} });
  }

  /**
   * Makes the memory object of a function, `size` bytes with those of its RAM BARs. The map owns
   * its fd. The object is not sealable: clients get it, and the kernel has to withdraw the bytes
   * from them (iommu/kernel/vfio/pci/ram-bars.ts).
   */
  addFunctionObject(name: string, size: number): number {
    const fd = memfdCreate(name, MFD_CLOEXEC);
    this.#functionObjects.push(fd);
    ftruncate(fd, size);
    return fd;
  }

  /**
   * The fd of the memory that BARs share as `name`; the map owns it. EINVAL when they differ in
   * size.
   */
  sharedMemory(name: string, size: number): number {
    const known = this.#shared.get(name);
    if (known && known.size !== size) {
      throw einval(`memdev=${name}: one device has ${known.size} bytes of it, another ${size}`);
    }
    const fd = known?.fd ?? createMemory(name, size);
    this.#shared.set(name, { fd, size });
    return fd;
  }

  /** Adds a BAR that is memory, at its address on the bus. */
  addRamBar(bar: Omit<BarRange, 'kind'>): void {
    this.#add({ range: { kind: 'bar', ...bar }, release: () => {} });
  }

  /**
   * Gives a range to `length` bytes of a memory object, whole pages of it; returns the start of the
   * range. Takes the fd, also when it fails. EFAULT when the object is shorter. The object is
   * sealed against becoming shorter, and mapped. Where it cannot be sealed, or is larger than 4
   * GiB, each access is a system call. DEVIATION: on Linux a pinned page outlives an ftruncate of
   * its file. Here the ftruncate of a sealed object is EPERM to its owner. An unsealed object can
   * be cut: behind the new end the device reads zeros, and its writes are lost.
   */
  attachObject(fd: number, length: number): number {
    let entry: Entry;
    try {
      entry = this.#placeObject(fd, wholePages(length));
    } catch (error) {
      close(fd);
      throw error;
    }
    this.#add(entry);
    return entry.range.start;
  }

  #placeObject(fd: number, size: number): Entry {
    const id = objectId(fd);
    const sealed = sealAgainstShrinking(fd); // before its size is looked at
    if (wholePages(fstatSync(fd).size) < size) throw efault(`object ${id.ino} is shorter than ${size} bytes`);
    const start = this.#place(size);
    const mapping = sealed && size <= MAX_MAPPING ? mapWritable(this.#pool, fd, size) : undefined;
    if (!mapping) return { ...this.#behindProcMem(fd, { start, size }), id };
    close(fd);
    return { range: { kind: 'ram', start, size, buffer: mapping.buffer }, id, release: () => mapping.release() };
  }

  /**
   * An entry for an object that may become shorter, may not be written, or is too large. It is
   * mapped, but touched by system calls only. To these a page that is gone is an error and no
   * SIGBUS, and they never make the object longer. Takes the fd if it succeeds.
   */
  #behindProcMem(fd: number, { start, size }: { readonly start: number; readonly size: number }): Entry {
    this.#ownMemory ??= open('/proc/self/mem');
    // SAFETY: nobody else knows the vaddr; unmapped by release(), when no device can reach the
    // range any more.
    const vaddr = mmap(0, size, PROT_READ | (isSealedAgainstWriting(fd) ? 0 : PROT_WRITE), MAP_SHARED, fd, 0);
    close(fd);
    return {
      range: { kind: 'process', start, size, memFd: this.#ownMemory, vaddr },
      release: () => munmap(vaddr, size),
    };
  }

  /**
   * Gives a range to [vaddr, vaddr + length) of the process behind a /proc/<pid>/mem fd; returns
   * the start of the range. Takes the fd.
   */
  attachProcess(memFd: number, vaddr: number, length: number): number {
    const size = wholePages(length);
    let start: number;
    try {
      start = this.#place(size);
    } catch (error) {
      close(memFd);
      throw error;
    }
    this.#add({ range: { kind: 'process', start, size, memFd, vaddr }, release: () => close(memFd) });
    return start;
  }

  /**
   * Drops the range at `start`. The caller vouches that no device can reach it any more. ENOENT if
   * there is none.
   */
  detach(start: number): void {
    const entry = this.#entries.get(start);
    if (!entry) throw enoent(`no range at pa ${hex(start)}`);
    this.#entries.delete(start);
    this.#taken.splice(this.#indexAt(start), 1);
    this.#post({ detach: start });
    entry.release();
    this.#onDetach();
  }

  /** A free range of `size` bytes at a multiple of 1 GiB. */
  #place(size: number): number {
    if (!(size > 0)) throw einval(`a range of ${size} bytes`);
    const length = Math.ceil(size / GIB) * GIB;
    for (const from of [this.#next, OBJECTS_START]) {
      const start = this.#firstFit(from, length);
      if (start + length > OBJECTS_END) continue;
      this.#next = start + length;
      return start;
    }
    throw enomem(`no pa range left for ${hexRange(0, size)}`);
  }

  #firstFit(from: number, length: number): number {
    let at = from;
    for (let i = this.#indexAt(from); i < this.#taken.length; i++) {
      const { start, size } = this.#taken[i]!;
      if (start >= at + length) break;
      at = Math.max(at, Math.ceil((start + size) / GIB) * GIB);
    }
    return at;
  }

  /** The index of the first range that does not end at or before `pa`. */
  #indexAt(pa: number): number {
    let low = 0;
    let high = this.#taken.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const { start, size } = this.#taken[middle]!;
      if (start + size <= pa) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #add(entry: Entry): void {
    const { range } = entry;
    this.#entries.set(range.start, entry);
    this.#taken.splice(this.#indexAt(range.start), 0, range);
    this.#post({ attach: range });
  }

  #post(change: PhysicalChange): void {
    for (const port of this.#ports) port.postMessage(change);
  }

  /** Closes the map, when no thread uses it any more. */
  close(): void {
    for (const port of this.#ports) port.close();
    for (const { release } of this.#entries.values()) release();
    this.#entries.clear();
    this.#taken.length = 0;
    for (const fd of this.#functionObjects.splice(0)) close(fd);
    for (const { fd } of this.#shared.values()) close(fd);
    this.#shared.clear();
    if (this.#ownMemory !== undefined) close(this.#ownMemory);
    this.#ownMemory = undefined;
  }
}

/** Undefined for an object that its owner has sealed against writing. */
function mapWritable(pool: MappingPool, fd: number, size: number): PooledMapping | undefined {
  try {
    return pool.map(fd, size);
  } catch (error) {
    if (codeOf(error) === 'EPERM') return undefined;
    throw error;
  }
}
