/**
 * A disk that is a file, raw. `cache` is QEMU's word for when its data are safe: writeback and none
 * by the guest's flush, writethrough and directsync with each write, unsafe never. none and
 * directsync go around the host's page cache.
 */
import { constants, fdatasyncSync, fstatSync, readSync, writeSync } from 'node:fs';

import { eio, SysError } from '../../platform/errno.ts';
import { fd } from '../../platform/fd-shape.ts';
import { close, open } from '../../platform/libc/fd.ts';
import { flag, integer, object, oneOf, type Shaped, text } from '../../platform/shape.ts';
import { type Disk, SECTOR } from './blk.ts';
import { type ImageUse, lockImage } from './image-lock.ts';

export const CACHE_MODES = ['writeback', 'writethrough', 'none', 'directsync', 'unsafe'] as const;
export type CacheMode = (typeof CACHE_MODES)[number];

/** An open disk. Its fd survives an update. */
export const DISK_DESCRIPTION = object({
  fd,
  size: integer,
  readOnly: flag,
  cache: oneOf(...CACHE_MODES),
  serial: text,
});

export type DiskDescription = Shaped<typeof DISK_DESCRIPTION>;

/** Flags of open(2) for a disk. */
const openFlags = (readOnly: boolean, cache: CacheMode): number =>
  constants.O_NONBLOCK | // a FIFO makes its opener wait
  (readOnly ? constants.O_RDONLY : constants.O_RDWR) |
  (cache === 'none' || cache === 'directsync' ? constants.O_DIRECT : 0) |
  (cache === 'writethrough' || cache === 'directsync' ? constants.O_DSYNC : 0);

/** Data of this mode may wait for a flush. */
export const isWriteback = (cache: CacheMode): boolean => cache !== 'writethrough' && cache !== 'directsync';

/** What the user says of a disk. */
export interface DiskOptions extends ImageUse {
  readonly file: string;
  readonly cache: CacheMode;
  readonly serial: string;
}

/**
 * Opens the file of a disk and locks it. Errors are one line that begins with `option` and names
 * the file. EINVAL: it is no regular file; EAGAIN: others use it in a way that does not go with
 * this.
 */
export function openDisk(options: DiskOptions, option: string): DiskDescription {
  const { file, cache, readOnly, serial } = options;
  const refused = (code: string, why: string): SysError => new SysError(code, `${option}: ${file}: ${why}`);
  let opened: number;
  try {
    opened = open(file, openFlags(readOnly, cache));
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    const direct = error.code === 'EINVAL' && cache !== 'writeback' ? `; cache=${cache} may not be possible there` : '';
    throw refused(error.code, `${error.message}${direct}`);
  }
  try {
    const stat = fstatSync(opened);
    if (!stat.isFile()) throw new SysError('EINVAL', 'not a regular file');
    lockImage(opened, options);
    return { fd: opened, size: stat.size, readOnly, cache, serial };
  } catch (error) {
    close(opened);
    throw error instanceof SysError ? refused(error.code, error.message) : error;
  }
}

const PAGES_OF_BUFFER = 1; // of WebAssembly: 64 KiB, and its address is a multiple of the host's page

export class DiskFile implements Disk {
  readonly size: number;
  readonly readOnly: boolean;
  readonly writeback: boolean;
  readonly serial: string;
  readonly buffer: Uint8Array;
  readonly #fd: number;
  readonly #flushes: boolean;

  constructor({ fd, size, readOnly, cache, serial }: DiskDescription) {
    this.size = size - (size % SECTOR);
    this.readOnly = readOnly;
    this.writeback = isWriteback(cache);
    this.serial = serial;
    this.buffer = new Uint8Array(new WebAssembly.Memory({ initial: PAGES_OF_BUFFER }).buffer);
    this.#fd = fd;
    this.#flushes = cache !== 'unsafe';
  }

  read(at: number, into: Uint8Array): void {
    for (let done = 0; done < into.length; ) {
      const count = readSync(this.#fd, into, done, into.length - done, at + done);
      if (count === 0) throw eio('the file has become shorter');
      done += count;
    }
  }

  write(at: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      done += writeSync(this.#fd, bytes, done, bytes.length - done, at + done);
    }
  }

  flush(): void {
    if (this.#flushes) fdatasyncSync(this.#fd);
  }
}
