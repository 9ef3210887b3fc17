/**
 * The bytes of a RAM BAR's object, which are reached by pread and pwrite, never through a mapping:
 * the kernel cuts it off to take it from its clients, who may do so, too, and touching a mapped
 * page that is gone would end the whole host by SIGBUS.
 */
import { fileSize, pread, pwrite } from '../../platform/libc.ts';

/** Copies bytes at `at` out; what lies beyond the end reads as 0. */
export function readFileMemory(fd: number, at: number, dst: Uint8Array): void {
  dst.fill(0, pread(fd, dst, at));
}

/** Copies bytes in, up to the end. */
export function writeFileMemory(fd: number, at: number, src: Uint8Array): void {
  const room = fileSize(fd) - at;
  if (room > 0) pwrite(fd, room < src.length ? src.subarray(0, room) : src, at);
}
