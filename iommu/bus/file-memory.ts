/**
 * Bytes of a memory object that are reached by pread and pwrite, never through a mapping: whoever else holds the object may
 * shorten it at any moment, and touching a mapped page that is gone would end the whole host by SIGBUS.
 */
import { SysError } from '../../platform/errno.ts';
import { fileSize, pread, pwrite } from '../../platform/libc.ts';

/** Copies bytes at `at` out; what lies beyond the end reads as 0. */
export function readFileMemory(fd: number, at: number, dst: Uint8Array): void {
  dst.fill(0, pread(fd, dst, at));
}

/** Copies bytes in, up to the end: a write never makes the object longer, unless it is shortened at this very moment. */
export function writeFileMemory(fd: number, at: number, src: Uint8Array): void {
  const room = fileSize(fd) - at;
  if (room <= 0) return;
  try {
    pwrite(fd, room < src.length ? src.subarray(0, room) : src, at);
  } catch (error) {
    // Sealed against writing by its owner, or no room left in its file system: the bytes are lost.
    if (!(error instanceof SysError && (error.code === 'EPERM' || error.code === 'ENOSPC'))) throw error;
  }
}
