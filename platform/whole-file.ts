/** Whole files by their fds, in as many calls as it takes. */
import { fstatSync, readSync } from 'node:fs';

import { einval } from './errno.ts';
import { write } from './libc/file-bytes.ts';

/**
 * All bytes of a file, wherever its offset is. EINVAL: it became shorter meanwhile. Errors of
 * read(2).
 */
export function readWhole(fd: number): Buffer {
  const bytes = Buffer.alloc(fstatSync(fd).size);
  for (let done = 0; done < bytes.length; ) {
    const length = readSync(fd, bytes, done, bytes.length - done, done);
    if (length === 0) throw einval(`fd ${fd}: ${done} bytes instead of ${bytes.length}`);
    done += length;
  }
  return bytes;
}

/** Writes all of `bytes` at the file's offset. Errors of write(2). */
export function writeAll(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) done += write(fd, bytes.subarray(done));
}
