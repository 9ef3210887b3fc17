/** Memory of a script's process, at known places. */
import { SysError } from '../../../platform/errno.ts';
import { MFD_CLOEXEC, MFD_HUGETLB } from '../../../platform/libc/memfd.ts';
import {
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_FIXED_NOREPLACE,
  MAP_PRIVATE,
  MAP_SHARED,
  PROT_NONE,
  PROT_READ,
  PROT_WRITE,
} from '../../../platform/libc/mmap.ts';
import { wholePages } from '../../../platform/page.ts';
import type { UserBuffer } from './call-context.ts';
import type { Note, ProcessCalls } from './process-calls.ts';
import type { Memory, State } from './state.ts';

const MIB = 2 ** 20;
/** Alignment of each mapping in bytes, and the size of the unmapped space behind it. */
const GRANULE = 2 * MIB;

const roundUp = (size: number): number => Math.ceil(size / GRANULE) * GRANULE;

/** Protection from the letters r, w and n, as the vectors write it. */
export function parseProt(letters: string): number {
  return (letters.includes('r') ? PROT_READ : PROT_NONE) | (letters.includes('w') ? PROT_WRITE : PROT_NONE);
}

/** A process, and what its script has named in it. */
export interface Owner {
  readonly calls: ProcessCalls;
  readonly state: State;
}

/**
 * Reserves a range with PROT_NONE at a fresh vaddr, and returns the vaddr. The first `size` bytes
 * are to be mapped over; the space behind them stays unmapped.
 */
export async function reserve({ calls, state }: Owner, size: number): Promise<number> {
  const vaddr = state.nextVaddr;
  const length = roundUp(size) + GRANULE;
  state.change({ nextVaddr: vaddr + length });
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
  // SAFETY: the script's part of the vaddr space (state.ts); the script, execve or exit unmap it.
  await calls.mmap({ vaddr, length, prot: PROT_NONE, flags, fd: -1, offset: 0 });
  return vaddr;
}

export interface WantedMemory {
  readonly name: string;
  readonly kind: string;
  readonly size: number;
  readonly prot: number;
  /** Called when the machine lacks the huge pages that were asked for. */
  readonly note: Note;
}

/** The step `mem`: makes memory of one kind under a name. */
export async function createMemory(owner: Owner, { name, kind, size, prot, note }: WantedMemory): Promise<void> {
  const { calls, state } = owner;
  if (kind === 'hole') {
    state.change({ symbol: name, vaddr: await reserve(owner, size), memory: null });
    return;
  }
  if (kind === 'anon') {
    const memory = { fd: null, size, prot };
    state.change({ symbol: name, vaddr: await mapObject(owner, memory), memory });
    return;
  }
  if (kind !== 'memfd' && kind !== 'hugetlb') throw new RangeError(`no kind of memory ${kind}`);
  const memory =
    kind === 'hugetlb'
      ? await hugeMemory(calls, name, { size, prot, note })
      : await objectMemory(calls, name, size, prot);
  state.change({ fd: name, number: memory.fd });
  state.change({ symbol: name, vaddr: await mapObject(owner, memory), memory });
}

interface ObjectMemory extends Memory {
  readonly fd: number;
}

/** Makes a memfd. Its fd survives exec and fork, as the script's memory does. */
async function objectMemory(calls: ProcessCalls, name: string, size: number, prot: number): Promise<ObjectMemory> {
  const fd = await calls.memfd(name, 0);
  await calls.ftruncate(fd, size);
  return { fd, size, prot };
}

/**
 * DEVIATION: without free huge pages of 2 MiB an ordinary memfd takes their place. No answer of
 * VFIO shows the difference.
 */
async function hugeMemory(
  calls: ProcessCalls,
  name: string,
  { size, prot, note }: Pick<WantedMemory, 'size' | 'prot' | 'note'>,
): Promise<ObjectMemory> {
  const length = roundUp(size);
  const fd = await calls.memfd(name, MFD_HUGETLB | MFD_CLOEXEC);
  try {
    await calls.ftruncate(fd, length);
    // this reserves the pages, or fails with ENOMEM
    const vaddr = await calls.mmap({ vaddr: 0, length, prot: PROT_READ, flags: MAP_SHARED, fd, offset: 0 });
    await calls.munmap(vaddr, length);
    await calls.setCloexec(fd, false);
    return { fd, size: length, prot };
  } catch (error) {
    await calls.close(fd);
    if (!(error instanceof SysError)) throw error;
    note(`no huge pages (${error.code}): an ordinary memfd instead`);
    return objectMemory(calls, name, length, prot);
  }
}

/** Maps an object, or private memory, at a fresh vaddr. */
export async function mapObject(owner: Owner, { fd, size, prot }: Memory): Promise<number> {
  const vaddr = await reserve(owner, size);
  const flags = MAP_FIXED | (fd === null ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED);
  // SAFETY: over what reserve() mapped
  await owner.calls.mmap({ vaddr, length: size, prot, flags, fd: fd ?? -1, offset: 0 });
  return vaddr;
}

/** Maps a buffer that ends where its mapping does. */
export async function mapBuffer(owner: Owner, bytes: Uint8Array): Promise<UserBuffer> {
  const { calls } = owner;
  const size = wholePages(Math.max(1, bytes.length));
  const start = await mapObject(owner, { fd: null, size, prot: PROT_READ | PROT_WRITE });
  const vaddr = start + size - bytes.length;
  await calls.store(vaddr, bytes);
  return {
    vaddr,
    async bytes() {
      const now = new Uint8Array(bytes.length);
      await calls.load(vaddr, now);
      return now;
    },
    unmap: () => calls.munmap(start, size),
  };
}
