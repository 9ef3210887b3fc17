/**
 * /dev/pkernfs: its directory and its files as clients open them. Reads and writes go through a
 * mapping.
 */
import { constants } from 'node:fs';

import { einval, enodev, enotty, SysError } from '../../../platform/errno.ts';
import { hex } from '../../../platform/hex.ts';
import { PKERNFS_PATH, type PkernfsEntry } from '../../abi/wire.ts';
import type { FileOperations, MappedFile, MmapRequest } from '../core/open-file.ts';
import { KIND, type Kind } from './layout.ts';
import type { File, Pkernfs } from './pkernfs.ts';

/** A mounted file system, and the objects behind its users' files. */
export interface PkernfsMount {
  readonly fs: Pkernfs;
  /** The fd of the object of a file's run of blocks. */
  objectOf(firstBlock: number): number;
}

/** open(2) of the directory, or of a file in it. ENOENT, EEXIST, EISDIR; errors of create. */
export function openPkernfs(mount: PkernfsMount, path: string, flags: number): FileOperations {
  const { fs } = mount;
  if (path === PKERNFS_PATH || path === `${PKERNFS_PATH}/`) {
    if ((flags & constants.O_CREAT) !== 0) throw new SysError('EISDIR', `${path} is a directory`);
    return new PkernfsDirectory(fs);
  }
  const name = path.slice(PKERNFS_PATH.length + 1);
  return new PkernfsFile(mount, fileOf(fs, name, flags));
}

function fileOf(fs: Pkernfs, name: string, flags: number): File {
  const exclusive = (flags & constants.O_EXCL) !== 0;
  if ((flags & constants.O_CREAT) === 0) return fs.lookup(name);
  if (exclusive) return fs.create(name);
  try {
    return fs.lookup(name);
  } catch (error) {
    if (!(error instanceof SysError) || error.code !== 'ENOENT') throw error;
    return fs.create(name);
  }
}

const NAMES = Object.fromEntries(Object.entries(KIND).map(([name, kind]) => [kind, name])) as Readonly<
  Record<Kind, PkernfsEntry['kind']>
>;

export const listOf = (fs: Pkernfs): PkernfsEntry[] =>
  [...fs.files()].map((file) => ({
    name: file.name,
    kind: NAMES[file.kind],
    size: file.size,
    frozen: fs.isFrozen(file),
  }));

class PkernfsDirectory implements FileOperations {
  readonly name = PKERNFS_PATH;
  readonly #fs: Pkernfs;

  constructor(fs: Pkernfs) {
    this.#fs = fs;
  }

  ioctl(nr: number): number {
    throw enotty(`ioctl ${hex(nr)} on ${this.name}`);
  }

  getdents(): PkernfsEntry[] {
    return listOf(this.#fs);
  }

  unlinkat(name: string): void {
    this.#fs.unlink(name);
  }

  release(): void {}
}

export class PkernfsFile implements FileOperations {
  readonly name: string;
  readonly file: File;
  readonly #mount: PkernfsMount;

  constructor(mount: PkernfsMount, file: File) {
    this.name = `${PKERNFS_PATH}/${file.name}`;
    this.file = file;
    this.#mount = mount;
  }

  ioctl(nr: number): number {
    throw enotty(`ioctl ${hex(nr)} on ${this.name}`);
  }

  /** Errors of Pkernfs.truncate; ESTALE: the file has been unlinked. */
  ftruncate(size: number): void {
    this.#checkLinked();
    this.#mount.fs.truncate(this.file, size);
  }

  /** ENODEV: a file of the kernel's; EINVAL: private, or beyond the end. */
  mmap({ offset, length, shared }: MmapRequest): MappedFile {
    this.#checkLinked();
    const { file } = this;
    if (file.kind !== KIND.data) throw enodev(`${this.name} cannot be mapped`);
    if (!shared) throw einval(`${this.name} cannot be mapped MAP_PRIVATE`);
    if (offset + length > file.size) throw einval(`${this.name}: a mapping beyond its ${file.size} bytes`);
    const passesFd = this.#mount.objectOf(file.inode.firstBlock);
    const operations = { name: this.name, passesFd, ioctl: () => noIoctl(this.name), release: () => {} };
    return { operations, objectOffset: offset, registers: false };
  }

  #checkLinked(): void {
    if (this.file.gone) throw new SysError('ESTALE', `${this.name} has been unlinked`);
  }

  release(): void {}
}

function noIoctl(name: string): never {
  throw enotty(`ioctl on a mapping of ${name}`);
}
