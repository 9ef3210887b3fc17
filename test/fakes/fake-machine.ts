/**
 * A machine in one thread for tests of the kernel's memory side: a real IOMMU unit and its driver,
 * real page tables, the real pinner and type1. Only processes and their address spaces are made up.
 * Their memory objects are sparse memfds (for identity and size); the bytes of these objects are
 * SharedArrayBuffers.
 */
import { closeSync, fstatSync, ftruncateSync } from 'node:fs';
import { createPortCounters } from '../../iommu/bus/counters.ts';
import { createDoorbellTable } from '../../iommu/bus/interrupts.ts';
import { PhysicalMemory } from '../../iommu/bus/physical.ts';
import { DmaPort } from '../../iommu/hardware/port.ts';
import { IommuUnit } from '../../iommu/hardware/unit.ts';
import { createUnit } from '../../iommu/hardware/unit-memory.ts';
import { Mm, type Process, type Task } from '../../iommu/kernel/core/task.ts';
import { RiscvIommu, type RiscvIommuOptions } from '../../iommu/kernel/driver/riscv-iommu.ts';
import type { BoardShares } from '../../iommu/kernel/mm/board-shares.ts';
import type { DeviceMemoryTable } from '../../iommu/kernel/mm/device-memory.ts';
import { Pinner } from '../../iommu/kernel/mm/pin.ts';
import type { Backing, BoardMemory, PlacedObject } from '../../iommu/kernel/mm/pin-objects.ts';
import { efault, esrch } from '../../platform/errno.ts';
import { dup } from '../../platform/libc/fd.ts';
import { createMemory } from '../../platform/memory.ts';
import type { AddressSpace } from '../../platform/process.ts';
import type { Sliced } from '../../platform/slices.ts';
import type { Vma } from '../../platform/vma.ts';

const GIB = 2 ** 30;
const PAGE = 4096;
const ANY_VADDR = 0x7f00_0000_0000;

/** A memory object: a memfd that says its identity and size, and its bytes. */
export class FakeObject {
  readonly fd: number;
  readonly ino: number;
  readonly size: number;
  readonly buffer: SharedArrayBuffer;
  readonly bytes: Uint8Array;

  /** `sparse`: an object whose bytes nobody looks at. */
  constructor(size: number, { sparse = false } = {}) {
    this.fd = createMemory('fake', size);
    this.ino = fstatSync(this.fd).ino;
    this.size = size;
    this.buffer = new SharedArrayBuffer(sparse ? PAGE : size);
    this.bytes = new Uint8Array(this.buffer);
  }

  truncate(size: number): void {
    ftruncateSync(this.fd, size);
  }

  close(): void {
    closeSync(this.fd);
  }
}

interface FakeVma extends Vma {
  readonly object: FakeObject;
}

export interface MapOptions {
  /** Letters r w n, as in the vectors. */
  readonly prot?: string;
  readonly private?: boolean;
  readonly offset?: number;
  readonly size?: number;
}

/** An address space that a test fills by hand. */
export class FakeSpace {
  pid = process.pid;
  readonly vmas: FakeVma[] = [];
  dead = false;
  mlocked = 0;
  /** How often pinning asked: it must not ask per page. */
  lookups = 0;
  #next = ANY_VADDR;

  alive(): boolean {
    return !this.dead;
  }

  isCurrent(): boolean {
    return this.alive();
  }

  close(): void {
    this.vmas.length = 0;
  }

  /** mmap: at `vaddr`, or anywhere 2 MiB-aligned with 2 MiB of nothing behind. */
  map(object: FakeObject, options: MapOptions = {}, vaddr = this.#place(object)): number {
    const { prot = 'rw', offset = 0, size = object.size } = options;
    const isPrivate = options.private ?? false;
    this.unmap(vaddr, size);
    this.vmas.push({
      start: vaddr,
      end: vaddr + size,
      readable: prot.includes('r'),
      writable: prot.includes('w'),
      shared: !isPrivate,
      offset,
      major: 0,
      minor: 1,
      inode: isPrivate ? 0 : object.ino,
      object,
    });
    return vaddr;
  }

  #place(object: FakeObject): number {
    const vaddr = this.#next;
    this.#next += Math.ceil(object.size / 0x20_0000) * 0x20_0000 + 0x20_0000;
    return vaddr;
  }

  /** Cuts [vaddr, vaddr + size) out of every mapping. */
  unmap(vaddr: number, size: number): void {
    this.#cut(vaddr, size, () => undefined);
  }

  protect(vaddr: number, size: number, prot: string): void {
    this.#cut(vaddr, size, (vma) => ({ ...vma, readable: prot.includes('r'), writable: prot.includes('w') }));
  }

  #cut(vaddr: number, size: number, replace: (vma: FakeVma) => FakeVma | undefined): void {
    const end = vaddr + size;
    for (const vma of this.vmas.splice(0)) {
      const keep = (start: number, until: number): FakeVma => ({
        ...vma,
        start,
        end: until,
        offset: vma.offset + start - vma.start,
      });
      if (vma.end <= vaddr || vma.start >= end) {
        this.vmas.push(vma);
        continue;
      }
      if (vma.start < vaddr) this.vmas.push(keep(vma.start, vaddr));
      const middle = replace(keep(Math.max(vma.start, vaddr), Math.min(vma.end, end)));
      if (middle) this.vmas.push(middle);
      if (vma.end > end) this.vmas.push(keep(end, vma.end));
    }
  }

  vmaAt(vaddr: number): FakeVma | undefined {
    this.lookups++;
    if (this.dead) throw esrch('dead');
    return this.vmas.find((vma) => vaddr >= vma.start && vaddr < vma.end);
  }

  mlockedPages(): number {
    return this.mlocked;
  }

  remember(): void {}

  mayBlock(): boolean {
    return false;
  }

  tracksDirtyPages(_vma: FakeVma): boolean {
    return false;
  }

  // biome-ignore lint/correctness/useYield: as AddressSpace has it, which has to look for it
  *openObject(vma: FakeVma): Sliced<number> {
    return dup(vma.object.fd);
  }

  read(vaddr: number, into: Uint8Array): number {
    return this.#each(vaddr, into.length, (bytes, done) => into.set(bytes, done));
  }

  write(vaddr: number, from: Uint8Array): number {
    return this.#each(vaddr, from.length, (bytes, done) => bytes.set(from.subarray(done, done + bytes.length)));
  }

  #each(vaddr: number, length: number, visit: (bytes: Uint8Array, done: number) => void): number {
    let done = 0;
    while (done < length && !this.dead) {
      const at = vaddr + done;
      const vma = this.vmas.find((one) => at >= one.start && at < one.end);
      if (!vma) break;
      const offset = vma.offset + at - vma.start;
      const bytes = vma.object.bytes.subarray(offset, offset + Math.min(length - done, vma.end - at));
      if (bytes.length === 0) break;
      visit(bytes, done);
      done += bytes.length;
    }
    return done;
  }

  /** Bytes of this space, for expectations. */
  peek(vaddr: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    if (this.read(vaddr, bytes) < length) throw efault('peek');
    return bytes;
  }
}

/** A made-up process with one mm at a time. */
export class FakeProcess {
  readonly pid: number;
  space = new FakeSpace();
  mm: Mm;
  gone = false;
  ipcLock = true;
  memlockPages = Number.POSITIVE_INFINITY;
  readonly killer = new AbortController();

  constructor(pid: number) {
    this.pid = pid;
    // a stand-in: AddressSpace has private fields
    this.mm = new Mm(this.space as unknown as AddressSpace);
  }

  currentMm(): Mm {
    return this.mm;
  }

  exited(): boolean {
    return this.gone;
  }

  /** The exec of a thread is told by exit() of this and a new one. */
  entered(): void {}

  /** execve: the old address space is dead, unless somebody `shares` it; the new one is empty. */
  exec({ shared = false } = {}): void {
    this.space.dead = !shared;
    this.mm.drop();
    this.space = new FakeSpace();
    this.mm = new Mm(this.space as unknown as AddressSpace);
  }

  /** SIGKILL, or the end of its own accord. */
  exit(): void {
    this.space.dead = true;
    this.gone = true;
    this.killer.abort();
  }

  /** A thread of it, entering the kernel now. */
  task(): Task {
    return {
      pid: this.pid,
      tid: this.pid,
      process: this as unknown as Process,
      mm: this.mm,
      killed: this.killer.signal,
      capIpcLock: () => this.ipcLock,
      memlockLimitPages: () => this.memlockPages,
    };
  }
}

/** The board's memory map, for one thread. */
export class FakeBoard implements BoardMemory {
  readonly physical = new PhysicalMemory([]);
  /** By inode. */
  readonly objects = new Map<number, FakeObject>();
  /** What the kernel has attached, by first pfn: the starts of the ranges that show it. */
  readonly attached = new Map<number, number[]>();
  attachments = 0;
  readonly #anonymous: { readonly vaddr: number; readonly object: FakeObject }[] = [];
  #windows: FakeWindow[] = [];
  #nextPa = 64 * GIB;

  attachObject(fd: number, size: number, { ino }: { readonly ino: number }): number {
    closeSync(fd);
    return this.#attach(this.objects.get(ino)!, size);
  }

  attachProcess(memFd: number, vaddr: number, size: number): number {
    closeSync(memFd);
    const start = this.#place(size);
    const window = { start, vaddr, size };
    this.#windows.push(window);
    for (const one of this.#anonymous) this.#show(window, one);
    return start / PAGE;
  }

  /** Anonymous memory of a process at `vaddr`. */
  addAnonymous(vaddr: number, object: FakeObject): void {
    const memory = { vaddr, object };
    this.#anonymous.push(memory);
    for (const window of this.#windows) this.#show(window, memory);
  }

  #show({ start, vaddr, size }: FakeWindow, memory: { readonly vaddr: number; readonly object: FakeObject }): void {
    const at = memory.vaddr - vaddr;
    if (at < 0 || at >= size) return;
    const { buffer } = memory.object;
    this.physical.attach({ kind: 'ram', start: start + at, size: buffer.byteLength, buffer });
    this.attached.get(start / PAGE)!.push(start + at);
  }

  #attach(object: FakeObject, size: number): number {
    const start = this.#place(size);
    if (object.buffer.byteLength >= size) {
      this.physical.attach({ kind: 'ram', start, size, buffer: object.buffer });
      this.attached.get(start / PAGE)!.push(start);
    }
    return start / PAGE;
  }

  #place(size: number): number {
    const start = this.#nextPa;
    this.#nextPa += Math.ceil(size / GIB) * GIB;
    this.attachments++;
    this.attached.set(start / PAGE, []);
    return start;
  }

  detach(startPfn: number): void {
    for (const start of this.attached.get(startPfn)!) this.physical.detach(start);
    this.#windows = this.#windows.filter(({ start }) => start !== startPfn * PAGE);
    this.attached.delete(startPfn);
  }
}

interface FakeWindow {
  readonly start: number;
  readonly vaddr: number;
  readonly size: number;
}

export interface MachineOptions {
  readonly driver?: Partial<RiscvIommuOptions>;
  readonly unit?: Partial<Parameters<typeof createUnit>[0]>;
  readonly kernelRamBytes?: number;
  /** Which mappings are of a device's BAR. */
  readonly bars?: DeviceMemoryTable;
  readonly shares?: BoardShares;
  /** Blocks of 2 MiB, from page RESERVED_PFN on, that outlive the kernel. */
  readonly reservedBlocks?: number;
}

export const RESERVED_PFN = (32 * GIB) / PAGE;
/** Where persistent objects lie, 1 GiB apart. */
const PERSISTENT_PFN = (40 * GIB) / PAGE;

const KERNEL_RAM = 1 * GIB;
const DOORBELL = 2 * GIB;

/** One IOMMU unit with its driver. */
export class FakeMachine {
  readonly board = new FakeBoard();
  pinner: Pinner;
  readonly unit: SharedArrayBuffer;
  driver: RiscvIommu;
  readonly reserved: SharedArrayBuffer;
  readonly #driverOptions: Omit<RiscvIommuOptions, 'ops'>;
  readonly #pinnerOptions: ConstructorParameters<typeof Pinner>[1];
  /** Persistent objects by inode: their first pages, and their pins. */
  readonly persistent = new Map<number, { readonly startPfn: number; readonly nrPages: number; pins: number }>();
  readonly interrupts = createDoorbellTable();
  readonly #objects: FakeObject[] = [];
  readonly #agents = new Map<number, DmaPort>();

  constructor({ driver = {}, unit = {}, kernelRamBytes = 16 * 2 ** 20, bars, shares, ...rest }: MachineOptions = {}) {
    const reserved = {
      find: (vma: Vma) => this.#findPersistent(vma),
      findPages: (pfn: number) => this.#findPages(pfn),
    };
    this.#pinnerOptions = { deviceMemory: bars, reserved, ...(shares ? { shares } : {}) };
    this.pinner = new Pinner(this.board, this.#pinnerOptions);
    const { physical } = this.board;
    const { reservedBlocks = 0 } = rest;
    this.reserved = new SharedArrayBuffer(reservedBlocks * 2 ** 21);
    if (reservedBlocks > 0) {
      const start = RESERVED_PFN * PAGE;
      physical.attach({ kind: 'ram', start, size: this.reserved.byteLength, buffer: this.reserved });
    }
    const buffer = new SharedArrayBuffer(kernelRamBytes);
    physical.attach({ kind: 'ram', start: KERNEL_RAM, size: kernelRamBytes, buffer });
    physical.attach({ kind: 'doorbell', start: DOORBELL, size: PAGE, interrupts: this.interrupts });
    this.unit = createUnit({ agents: 8, ...unit });
    this.#driverOptions = {
      unit: new IommuUnit(this.unit, physical, () => {}),
      physical,
      kernelRam: { start: KERNEL_RAM, size: kernelRamBytes },
      doorbell: { start: DOORBELL, size: PAGE },
      ...driver,
    };
    this.driver = new RiscvIommu(this.#driverOptions);
  }

  /** The next kernel's driver and pinner take over what the last ones have left. */
  kexec(): void {
    this.pinner = new Pinner(this.board, this.#pinnerOptions);
    this.driver = new RiscvIommu(this.#driverOptions);
  }

  /** A memfd that is a file of pkernfs. */
  persistentObject(size: number): FakeObject {
    const object = this.object(size);
    const startPfn = PERSISTENT_PFN + this.persistent.size * (GIB / PAGE);
    this.persistent.set(object.ino, { startPfn, nrPages: size / PAGE, pins: 0 });
    this.board.physical.attach({ kind: 'ram', start: startPfn * PAGE, size, buffer: object.buffer });
    return object;
  }

  #findPages(pfn: number): Backing | undefined {
    for (const [inode, { startPfn, nrPages }] of this.persistent) {
      if (pfn >= startPfn && pfn < startPfn + nrPages) return this.#findPersistent({ inode } as Vma)?.backing;
    }
    return undefined;
  }

  #findPersistent({ inode }: Vma): PlacedObject | undefined {
    const found = this.persistent.get(inode);
    if (!found) return undefined;
    found.pins++;
    const { startPfn, nrPages } = found;
    const backing = { startPfn, persistent: true, get: () => void found.pins++, put: () => void found.pins-- };
    return { backing, nrPages };
  }

  /** memfd */
  object(size: number, options?: { readonly sparse?: boolean }): FakeObject {
    const object = new FakeObject(size, options);
    this.#objects.push(object);
    this.board.objects.set(object.ino, object);
    return object;
  }

  /** Private anonymous memory, mapped into `space`. */
  anonymous(space: FakeSpace, size: number, prot = 'rw'): number {
    const object = this.object(size);
    const vaddr = space.map(object, { private: true, prot });
    this.board.addAnonymous(vaddr, object);
    return vaddr;
  }

  /** The DMA port of device `did`. */
  port(did: number): DmaPort {
    const known = this.#agents.get(did);
    if (known) return known;
    const port = new DmaPort({
      unit: this.unit,
      agent: this.#agents.size,
      did,
      physical: this.board.physical,
      wire: () => {},
      counters: createPortCounters(),
    });
    this.#agents.set(did, port);
    return port;
  }

  close(): void {
    this.pinner.trim();
    for (const object of this.#objects) object.close();
  }
}
