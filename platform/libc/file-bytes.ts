/** The bytes of a file: reading, writing, its size, and where it has pages. */
import { fromErrno } from '../errno.ts';
import { check, retry } from './check.ts';
import { c, lastErrno } from './ffi.ts';

const SEEK_END = 2;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;

export function ftruncate(fd: number, size: number): void {
  check(c.ftruncate(fd, size), 'ftruncate');
}

/**
 * File size in bytes, by lseek(SEEK_END): a third of fstat's cost. It moves the file offset, which
 * no caller uses.
 */
export function fileSize(fd: number): number {
  return check(Number(c.lseek(fd, 0, SEEK_END)), `lseek ${fd}`);
}

export interface Extent {
  readonly start: number;
  readonly end: number;
}

/**
 * The first extent [start, end) at or behind `at` that the file has pages for; undefined when there
 * is none. Other bytes read as 0.
 */
export function dataExtent(fd: number, at: number): Extent | undefined {
  const start = Number(c.lseek(fd, at, SEEK_DATA));
  if (start < 0) {
    const error = fromErrno(lastErrno(), `lseek ${fd}`);
    if (error.code === 'ENXIO') return undefined;
    throw error;
  }
  // The rest may have been cut off meanwhile.
  const end = Number(c.lseek(fd, start, SEEK_HOLE));
  return end > start ? { start, end } : undefined;
}

/** read(2) into `buf`; number of bytes, 0 at end of file. */
export function read(fd: number, buf: Uint8Array): number {
  return retry(() => Number(c.read(fd, buf, buf.length)), 'read');
}

/** write(2) of `buf`; number of bytes written. */
export function write(fd: number, buf: Uint8Array): number {
  return retry(() => Number(c.write(fd, buf, buf.length)), 'write');
}

export function pread(fd: number, buf: Uint8Array, offset: number): number {
  return retry(() => Number(c.pread(fd, buf, buf.length, offset)), 'pread');
}

export function pwrite(fd: number, buf: Uint8Array, offset: number): number {
  return retry(() => Number(c.pwrite(fd, buf, buf.length, offset)), 'pwrite');
}
