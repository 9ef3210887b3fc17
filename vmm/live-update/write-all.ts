import { write } from '../../platform/libc/file-bytes.ts';

/** Writes all of `bytes`, in as many calls as it takes. Errors of write(2). */
export function writeAll(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) done += write(fd, bytes.subarray(done));
}
