/**
 * A client's memory as the CPU sees it: mappings at known places, and accesses that may fault
 * without ending the process.
 */
import { readFileSync } from 'node:fs';

import { SysError } from '../../../platform/errno.ts';
import { close, setCloexec } from '../../../platform/libc/fd.ts';
import { ftruncate } from '../../../platform/libc/file-bytes.ts';
import { MFD_CLOEXEC, MFD_HUGETLB, memfdCreate } from '../../../platform/libc/memfd.ts';
import {
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_FIXED_NOREPLACE,
  MAP_PRIVATE,
  MAP_SHARED,
  mmap,
  munmap,
  PROT_NONE,
  PROT_READ,
  PROT_WRITE,
} from '../../../platform/libc/mmap.ts';
import { processVmRead, processVmWrite } from '../../../platform/libc/other-process.ts';
import type { Vma } from '../../../platform/vma.ts';
import { parseMapsLine } from '../../../platform/vma.ts';
import type { Memory, State } from '../steps/state.ts';

const MIB = 2 ** 20;
/** Alignment of each mapping in bytes, and the size of the unmapped space behind it. */
const GRANULE = 2 * MIB;

const roundUp = (size: number): number => Math.ceil(size / GRANULE) * GRANULE;

/** Protection from the letters r, w and n, as the vectors write it. */
export function parseProt(letters: string): number {
  return (letters.includes('r') ? PROT_READ : PROT_NONE) | (letters.includes('w') ? PROT_WRITE : PROT_NONE);
}

/**
 * Reserves a range with PROT_NONE at a fresh vaddr, and returns the vaddr. The first `size` bytes
 * are to be mapped over; the space behind them stays unmapped.
 */
export function reserve(state: State, size: number): number {
  const vaddr = state.nextVaddr;
  state.change({ nextVaddr: vaddr + roundUp(size) + GRANULE });
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
  // SAFETY: our own part of the vaddr space (state.ts); unmapped by the script, execve or exit.
  mmap(vaddr, roundUp(size) + GRANULE, PROT_NONE, flags, -1, 0);
  return vaddr;
}

export interface MemoryOptions {
  readonly state: State;
  readonly name: string;
  readonly kind: string;
  readonly size: number;
  readonly prot: number;
  /** Called when the machine lacks the huge pages that were asked for. */
  readonly note: Note;
}

/** The step `mem`: makes memory of one kind under a name. */
export function createMemory({ state, name, kind, size, prot, note }: MemoryOptions): void {
  if (kind === 'hole') {
    state.change({ symbol: name, vaddr: reserve(state, size), memory: null });
    return;
  }
  if (kind === 'anon') {
    const vaddr = reserve(state, size);
    // SAFETY: over what reserve() mapped.
    mmap(vaddr, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    state.change({ symbol: name, vaddr, memory: { fd: null, size, prot } });
    return;
  }
  if (kind !== 'memfd' && kind !== 'hugetlb') throw new RangeError(`no kind of memory ${kind}`);
  const memory = kind === 'hugetlb' ? hugeMemory(name, size, prot, note) : objectMemory(name, size, prot);
  state.change({ fd: name, number: memory.fd });
  state.change({ symbol: name, vaddr: mapObject(state, memory), memory });
}

export type Note = (text: string) => void;

/** Makes a memfd. Its fd survives exec and fork, as the script's memory does. */
function objectMemory(name: string, size: number, prot: number): Memory & { readonly fd: number } {
  const fd = memfdCreate(name, 0);
  ftruncate(fd, size);
  return { fd, size, prot };
}

/**
 * DEVIATION: without free huge pages of 2 MiB an ordinary memfd takes their place. No answer of
 * VFIO shows the difference.
 */
function hugeMemory(name: string, size: number, prot: number, note: Note): Memory & { readonly fd: number } {
  const rounded = roundUp(size);
  const fd = memfdCreate(name, MFD_HUGETLB | MFD_CLOEXEC);
  try {
    ftruncate(fd, rounded);
    // this reserves the pages, or fails with ENOMEM
    munmap(mmap(0, rounded, PROT_READ, MAP_SHARED, fd, 0), rounded);
    setCloexec(fd, false);
    return { fd, size: rounded, prot };
  } catch (error) {
    close(fd);
    if (!(error instanceof SysError)) throw error;
    note(`no huge pages (${error.code}): an ordinary memfd instead`);
    return objectMemory(name, rounded, prot);
  }
}

/** Maps an object at a fresh vaddr. */
export function mapObject(state: State, { fd, size, prot }: Memory): number {
  const vaddr = reserve(state, size);
  const flags = fd === null ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
  mmap(vaddr, size, prot, flags | MAP_FIXED, fd ?? -1, 0); // SAFETY: over what reserve() mapped
  return vaddr;
}

export type Fault = 'SIGBUS' | 'SIGSEGV';

/** Loads bytes as the CPU would. Returns the signal that would kill the process, if any. */
export function load(vaddr: number, into: Uint8Array): Fault | undefined {
  return access(vaddr, into.length, 'read', () => processVmRead(process.pid, vaddr, into));
}

/** Stores bytes as the CPU would. Returns the signal that would kill the process, if any. */
export function store(vaddr: number, bytes: Uint8Array): Fault | undefined {
  return access(vaddr, bytes.length, 'write', () => processVmWrite(process.pid, vaddr, bytes));
}

function access(vaddr: number, length: number, kind: 'read' | 'write', move: () => number): Fault | undefined {
  let moved = 0;
  try {
    moved = move();
  } catch (error) {
    if (!(error instanceof SysError && error.code === 'EFAULT')) throw error;
  }
  if (moved === length) return undefined;
  // The mapping allows the access, and it still faulted: there is nothing behind the page.
  const vma = ownVmas().find(({ start, end }) => vaddr + moved >= start && vaddr + moved < end);
  return (kind === 'read' ? vma?.readable : vma?.writable) ? 'SIGBUS' : 'SIGSEGV';
}

export function ownVmas(): Vma[] {
  return vmasOf('self');
}

export function vmasOf(pid: number | 'self'): Vma[] {
  const lines = readFileSync(`/proc/${pid}/maps`, 'latin1').split('\n');
  return lines.flatMap((line) => parseMapsLine(line) ?? []);
}
