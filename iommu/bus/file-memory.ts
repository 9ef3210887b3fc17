/**
 * The bytes of RAM BARs in their function's object. The host reaches them by pread and pwrite,
 * never through a mapping. The kernel truncates the object to take it from its clients, and the
 * clients may truncate it, too. Touching a mapped page that is gone would end the whole host by
 * SIGBUS.
 */
import { fileSize, pread, pwrite } from '../../platform/libc/file-bytes.ts';

/** Copies the bytes at `at` out. Bytes beyond the object's end read as 0. */
export function readFileMemory(fd: number, at: number, dst: Uint8Array): void {
  dst.fill(0, pread(fd, dst, at));
}

/** Copies bytes in, up to the object's end. */
export function writeFileMemory(fd: number, at: number, src: Uint8Array): void {
  const room = fileSize(fd) - at;
  if (room > 0) pwrite(fd, room < src.length ? src.subarray(0, room) : src, at);
}
