/**
 * A disk that is a file, raw. `cache` is QEMU's word for when its data are safe: writeback and none
 * by the guest's flush, writethrough and directsync with each write, unsafe never. none and
 * directsync go around the host's page cache.
 */
import { constants, fdatasyncSync, readSync, writeSync } from 'node:fs';

import { type Disk, SECTOR } from '../../../devices/virtio/blk.ts';
import { eio } from '../../../platform/errno.ts';
import { fd } from '../../../platform/fd-shape.ts';
import { flag, integer, object, oneOf, type Shaped, text } from '../../../platform/shape.ts';

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
export const openFlags = (readOnly: boolean, cache: CacheMode): number =>
  (readOnly ? constants.O_RDONLY : constants.O_RDWR) |
  (cache === 'none' || cache === 'directsync' ? constants.O_DIRECT : 0) |
  (cache === 'writethrough' || cache === 'directsync' ? constants.O_DSYNC : 0);

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
    this.writeback = cache !== 'writethrough' && cache !== 'directsync';
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
