/** Files of the user that are read whole. */
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';

import { einval, SysError } from './errno.ts';

/** fs.readFileSync reads no larger file. */
const MOST_BYTES = 2 ** 31 - 1;

/**
 * The bytes of a file. Whatever its name leads to, the caller does not wait. EINVAL: no regular
 * file; EFBIG: it has 2 GiB or more; others, and EISDIR, are node's.
 */
export function readRegularFile(path: string): Buffer {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile() && !stat.isDirectory()) throw einval('not a regular file');
    if (stat.size > MOST_BYTES) throw new SysError('EFBIG', `${stat.size} bytes are too many`);
    return readFileSync(fd); // EISDIR
  } finally {
    closeSync(fd);
  }
}
