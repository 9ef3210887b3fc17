/** Memory of this process: mmap and its relations. */
import { fromErrno } from '../errno.ts';
import { check } from './check.ts';
import { c, lastErrno } from './ffi.ts';

export const PROT_NONE = 0;
export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const MAP_SHARED = 0x01;
export const MAP_PRIVATE = 0x02;
export const MAP_FIXED = 0x10;
export const MAP_ANONYMOUS = 0x20;
export const MAP_NORESERVE = 0x4000;
export const MAP_FIXED_NOREPLACE = 0x100000;
export const MADV_DONTNEED = 4;

/**
 * mmap(2); returns the vaddr. SAFETY: the caller owns the range and must munmap it; execve removes
 * it.
 */
export function mmap(vaddr: number, length: number, prot: number, flags: number, fd: number, offset: number): number {
  const result = Number(c.mmap(vaddr, length, prot, flags, fd, offset));
  if (result === -1) throw fromErrno(lastErrno(), 'mmap');
  return result;
}

export function munmap(vaddr: number, length: number): void {
  check(c.munmap(vaddr, length), 'munmap');
}

/**
 * madvise(2). SAFETY: MADV_DONTNEED takes away what private pages hold; of a shared mapping it only
 * drops page-table entries.
 */
export function madvise(vaddr: number, length: number, advice: number): void {
  check(c.madvise(vaddr, length, advice), 'madvise');
}

export function mprotect(vaddr: number, length: number, prot: number): void {
  check(c.mprotect(vaddr, length, prot), 'mprotect');
}

/**
 * mlock(2): the pages are present when it returns. ENOMEM beyond RLIMIT_MEMLOCK or where nothing is
 * mapped.
 */
export function mlock(vaddr: number, length: number): void {
  check(c.mlock(vaddr, length), 'mlock');
}

/**
 * The vaddr of the first byte of a typed array. SAFETY: valid as long as the buffer lives; never
 * for a resizable one.
 */
export function vaddrOf(bytes: Uint8Array | Int32Array): number {
  return Number(c.memmove(bytes, bytes, 0));
}
