/**
 * mmap(2) of device fds. The client maps the real object that the kernel passes. The connection
 * that carried the object stays open while a page of it is mapped, and it holds the device's file
 * open (CORE-9). Exec and exit end both the mapping and the connection; a munmap must come here.
 * Ranges are [start, end).
 */
import { VFIO_PCI_OFFSET_SHIFT } from '../../iommu/abi/vfio.ts';
import { MAPPING_PATH } from '../../iommu/abi/wire.ts';
import { eproto } from '../../platform/errno.ts';
import { close } from '../../platform/libc/fd.ts';
import { mmap, munmap } from '../../platform/libc/mmap.ts';
import { wholePages } from '../../platform/page.ts';
import { askForObject } from './passed-object.ts';
import { succeeded } from './task-channel.ts';

/** mmap(2), of a device fd: `offset` is region << 40 | offset in the region. */
export interface MmapOptions {
  readonly fd: number;
  readonly offset: number;
  readonly length: number;
  readonly prot: number;
  /** MAP_SHARED or MAP_PRIVATE, and MAP_FIXED or MAP_FIXED_NOREPLACE with a vaddr. */
  readonly flags: number;
  readonly vaddr?: number;
}

/** The answer of the kernel to an mmap: what is mapped and where. */
export interface AgreedMapping extends MmapOptions {
  /** Offset of the mapping in the object. */
  readonly objectOffset: number;
  readonly registers: boolean;
}

/** The part of a mapped BAR that begins at one vaddr. */
export interface MappedBar {
  /**
   * The mapping's file. A pread or pwrite at `offset` is a load or store of the CPU; EIO is a bus
   * error.
   */
  readonly fd: number;
  readonly offset: number;
  /** True when the mapping has no bytes: accesses must be made through `fd`. */
  readonly registers: boolean;
}

/** Pages that are mapped without a gap. */
interface Piece {
  readonly start: number;
  readonly end: number;
  readonly fd: number;
  /** Offset of `start` in the BAR. */
  readonly offset: number;
  readonly registers: boolean;
}

const REGION_BYTES = 2 ** VFIO_PCI_OFFSET_SHIFT;

/** The BAR mappings that one client has made. */
export class BarMappings {
  #pieces: readonly Piece[] = [];

  /** Maps the object that arrives on `fd`, a fresh connection; returns the vaddr. Takes the fd. */
  add(fd: number, token: number, agreed: AgreedMapping): number {
    const { offset, length, prot, flags, vaddr = 0, objectOffset, registers } = agreed;
    const size = wholePages(length);
    let start: number;
    try {
      const object = takeObject(fd, token);
      try {
        // SAFETY: fresh, or where the caller says; his until unmap(). Execve removes it.
        start = mmap(vaddr, size, prot, flags, object, objectOffset);
      } finally {
        close(object);
      }
    } catch (error) {
      close(fd);
      throw error;
    }
    this.#forget(start, start + size); // what MAP_FIXED has replaced
    this.#pieces = [...this.#pieces, { start, end: start + size, fd, offset: offset % REGION_BYTES, registers }];
    return start;
  }

  /** munmap(2) of any pages. Returns true when a mapping has lost its last page. */
  unmap(vaddr: number, length: number): boolean {
    munmap(vaddr, length);
    return this.#forget(vaddr, vaddr + wholePages(length));
  }

  #forget(start: number, end: number): boolean {
    const before = this.#pieces;
    this.#pieces = before.flatMap((piece) => without(piece, start, end));
    const gone = before.filter(({ fd }) => !this.#pieces.some((piece) => piece.fd === fd));
    const fds = new Set(gone.map(({ fd }) => fd));
    for (const fd of fds) close(fd);
    return fds.size > 0;
  }

  at(vaddr: number): MappedBar | undefined {
    const piece = this.#pieces.find(({ start, end }) => vaddr >= start && vaddr < end);
    return piece && { fd: piece.fd, offset: piece.offset + vaddr - piece.start, registers: piece.registers };
  }
}

/** The parts of a piece outside [start, end). */
function without(piece: Piece, start: number, end: number): Piece[] {
  const left = { ...piece, end: Math.min(piece.end, start) };
  const right = { ...piece, start: Math.max(piece.start, end) };
  const parts = [left, { ...right, offset: piece.offset + right.start - piece.start }];
  return parts.filter((part) => part.start < part.end);
}

/** Says hello on a fresh connection; returns the object that comes with the answer. */
export function takeObject(fd: number, token: number): number {
  const { reply, object } = askForObject(fd, { open: MAPPING_PATH, fd, token });
  succeeded(reply, 'mmap');
  if (object === undefined) throw eproto('the host passed no object with a mapping');
  return object;
}
