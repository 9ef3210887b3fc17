/**
 * Memory objects. A memfd is the memory, and a Mapping makes it bytes in JS. The identity of an
 * object is (dev, ino), never an address. The bytes are the buffer of a shared WebAssembly.Memory,
 * overlaid with mmap(MAP_SHARED|MAP_FIXED). That buffer is page aligned, so its address *is* the
 * vaddr. Workers get it by message (docs/DESIGN.md, "Memory").
 */
import { fstatSync } from 'node:fs';
import { codeOf, einval, enomem, SysError } from './errno.ts';
import { close } from './libc/fd.ts';
import { ftruncate } from './libc/file-bytes.ts';
import {
  addSeals,
  F_SEAL_FUTURE_WRITE,
  F_SEAL_SHRINK,
  F_SEAL_WRITE,
  getSeals,
  MFD_ALLOW_SEALING,
  MFD_CLOEXEC,
  memfdCreate,
} from './libc/memfd.ts';
import {
  MADV_DONTNEED,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_NORESERVE,
  MAP_PRIVATE,
  MAP_SHARED,
  madvise,
  mmap,
  PROT_READ,
  PROT_WRITE,
  vaddrOf,
} from './libc/mmap.ts';
import { PAGE_SIZE } from './page.ts';

const WASM_PAGE = 65536;
/** The most one Mapping can hold: wasm memory32. */
export const MAX_MAPPING = 65536 * WASM_PAGE;

export interface ObjectId {
  readonly dev: number;
  readonly ino: number;
}

/** Identity of the object behind a fd (st_dev, st_ino). */
export function objectId(fd: number): ObjectId {
  const { dev, ino } = fstatSync(fd);
  return { dev, ino };
}

/**
 * Creates a memfd of `size` bytes that can be sealed (CLOEXEC; clear it for what must survive an
 * execve).
 */
export function createMemory(name: string, size: number): number {
  const fd = memfdCreate(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  try {
    ftruncate(fd, size);
  } catch (error) {
    close(fd);
    throw error;
  }
  return fd;
}

/**
 * Seals an object so that it never shrinks under a mapping of this process. Touching a page that is
 * gone is SIGBUS, which ends the whole process. False where an object cannot be sealed: a memfd
 * made without MFD_ALLOW_SEALING, or a file. Growing stays allowed.
 */
export function sealAgainstShrinking(fd: number): boolean {
  try {
    if ((getSeals(fd) & F_SEAL_SHRINK) !== 0) return true;
    addSeals(fd, F_SEAL_SHRINK);
    return (getSeals(fd) & F_SEAL_SHRINK) !== 0;
  } catch (error) {
    if (error instanceof SysError && (error.code === 'EPERM' || error.code === 'EINVAL')) return false;
    throw error;
  }
}

/**
 * Whether no new mapping and no write(2) can change the object; mappings from before
 * F_SEAL_FUTURE_WRITE can.
 */
export const isSealedAgainstWriting = (fd: number): boolean => hasSeal(fd, F_SEAL_WRITE | F_SEAL_FUTURE_WRITE);

/** Whether the object can never get shorter. A seal is never taken off. */
export const isSealedAgainstShrinking = (fd: number): boolean => hasSeal(fd, F_SEAL_SHRINK);

/** Whether the object has one of `seals`. */
function hasSeal(fd: number, seals: number): boolean {
  try {
    return (getSeals(fd) & seals) !== 0;
  } catch (error) {
    if (codeOf(error) === 'EINVAL') return false; // a file
    throw error;
  }
}

/**
 * Address space for a Mapping: a shared WebAssembly.Memory. V8 takes some 10 GiB of address space
 * for each, however small. V8 gives them back only when it collects the last buffer of that Memory
 * in the last thread. Code that maps many objects one after the other keeps some reservations
 * (mapping-pool.ts).
 */
export class Reservation {
  /** @internal */
  readonly memory: WebAssembly.Memory;
  readonly vaddr: number;

  /** Makes room for `length` bytes, which can grow to `most`. ENOMEM without address space. */
  constructor(length: number, most = length) {
    const [initial, maximum] = [length, most].map((bytes) => Math.ceil(bytes / WASM_PAGE)) as [number, number];
    this.memory = orNoMemory(length, () => new WebAssembly.Memory({ initial, maximum, shared: true }));
    this.vaddr = vaddrOf(new Uint8Array(this.buffer));
  }

  /** The whole reservation. The buffer dies with the Memory, which this object keeps. */
  get buffer(): SharedArrayBuffer {
    return this.memory.buffer as unknown as SharedArrayBuffer;
  }

  /** Makes room for `length` bytes, at the same vaddr. ENOMEM. */
  growTo(length: number): void {
    const pages = Math.ceil(length / WASM_PAGE) - this.buffer.byteLength / WASM_PAGE;
    if (pages > 0) orNoMemory(length, () => this.memory.grow(pages));
  }
}

function orNoMemory<T>(length: number, reserve: () => T): T {
  try {
    return reserve();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw enomem(`no address space for ${length} bytes: ${error.message}`);
  }
}

/**
 * `length` bytes of a memory object as shared bytes of this process. One Mapping per object per
 * process.
 */
export class Mapping {
  /** Longer than `length` where its Reservation is. */
  readonly buffer: SharedArrayBuffer;
  readonly vaddr: number;
  readonly length: number;
  readonly #reservation: Reservation;
  /** Beside the object: [vaddr, length). */
  readonly #others: (readonly [vaddr: number, length: number])[] = [];

  /**
   * The Memory of `buffer`: wasm code may use it, and messages between threads may carry it.
   *
   * @internal
   */
  get memory(): WebAssembly.Memory {
    return this.#reservation.memory;
  }

  /**
   * Maps [offset, offset+length) of `fd` read-write and shared. The fd may be closed afterwards.
   * Errors: EINVAL for a length that is 0, over 4 GiB or an offset off a page; ENOMEM; what mmap(2)
   * says.
   */
  constructor(fd: number, length: number, offset = 0, reservation?: Reservation) {
    if (length > MAX_MAPPING) throw einval(`cannot map ${length} bytes: a mapping holds at most 4 GiB`);
    if (length <= 0 || offset % PAGE_SIZE !== 0) throw einval(`cannot map ${length} bytes at offset ${offset}`);
    this.#reservation = reservation ?? new Reservation(length);
    this.buffer = this.#reservation.buffer;
    this.length = length;
    this.vaddr = this.#reservation.vaddr;
    // SAFETY: the range belongs to #reservation, which this object keeps alive; V8 unmaps it when
    // the Memory is collected, execve with everything else. Pages past `length` stay V8's own.
    mmap(this.vaddr, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, offset);
  }

  /**
   * Maps [offset, offset+length) of another object at byte `at` of the buffer, behind this one. So
   * code that has one Memory reaches both. EINVAL: there is no room, or an offset is off a page;
   * what mmap(2) says.
   */
  addBehind(at: number, fd: number, length: number, offset: number): void {
    if (at < this.length || at + length > this.buffer.byteLength || at % PAGE_SIZE !== 0 || offset % PAGE_SIZE !== 0) {
      throw einval(`cannot map ${length} bytes at ${at} of ${this.buffer.byteLength}`);
    }
    const vaddr = this.vaddr + at;
    // SAFETY: as in the constructor.
    mmap(vaddr, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, offset);
    this.#others.push([vaddr, length]);
  }

  /**
   * Drops this process' page-table entries for the object, and none of its bytes: the next access
   * to a page maps it again. It costs 0.2 µs for each page that was touched (measured). Otherwise
   * execve and exit would have that cost.
   */
  dropPages(): void {
    // SAFETY: the range is a shared mapping of the object.
    madvise(this.vaddr, this.length, MADV_DONTNEED);
  }

  /**
   * Drops all objects: their ranges turn into private zero pages, so a late access by a thread that
   * still has the buffer is harmless, and their memory can be freed by the kernel.
   */
  release(): void {
    // SAFETY: the same ranges as when they were mapped; still owned by #reservation.
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
    for (const [vaddr, length] of [[this.vaddr, this.length] as const, ...this.#others]) {
      mmap(vaddr, length, PROT_READ | PROT_WRITE, flags, -1, 0);
    }
  }
}
