/**
 * A folder of the host that a guest reads by 9P. Whatever is renamed, linked or mounted there, no
 * path leads out of it (platform/libc/beneath.ts), and nothing is opened that could make the VMM
 * wait or do something: regular files and folders only.
 */
import { constants, statfsSync } from 'node:fs';
import { SysError } from '../../platform/errno.ts';
import { openBeneath } from '../../platform/libc/beneath.ts';
import { directoryEntries } from '../../platform/libc/directory-entries.ts';
import { close, O_NOCTTY, O_NONBLOCK, O_PATH } from '../../platform/libc/fd.ts';
import { pread } from '../../platform/libc/file-bytes.ts';
import { linkTarget, statxBytes } from '../../platform/libc/in-root.ts';
import { defineSection, type StateOf } from '../../platform/section.ts';
import { list } from '../../platform/shape.ts';
import { type Attributes, type FileTree, NINEP_STATE, type Time, type TreeEntry } from '../virtio/ninep-server.ts';

/** What the guest has open in such folders, in the order of the options. */
export const SHARES_SECTION = defineSection('shares', 1, { shares: list(NINEP_STATE) });
export type SharesState = StateOf<typeof SHARES_SECTION>;

/** The state as another process can take it, which lacks the fds. */
export const withoutOpenFiles = ({ shares }: SharesState): SharesState =>
  SHARES_SECTION.of({
    shares: shares.map((share) => ({ ...share, fids: share.fids.map((each) => ({ ...each, fd: null })) })),
  });

const { O_RDONLY, O_NOFOLLOW, S_IFMT, S_IFREG, S_IFDIR, S_IFLNK } = constants;
const STATX_BASIC_STATS = 0x7ff;
/** struct statx, linux/stat.h. */
const STATX = {
  ...{ blksize: 4, nlink: 16, uid: 20, gid: 24, mode: 28, ino: 32, size: 40, blocks: 48 },
  ...{ atime: 64, ctime: 96, mtime: 112, rdevMajor: 128, rdevMinor: 132 },
};

export class ExportedTree implements FileTree {
  readonly #root: number;

  /** `root`: an open folder, which stays the caller's. */
  constructor(root: number) {
    this.#root = root;
  }

  attributes(file: string | number): Attributes {
    return typeof file === 'number' ? attributesOf(file) : this.#with(file, attributesOf);
  }

  open(path: string): number {
    const kind = this.#with(path, kindOf); // what opening does to others must not happen
    if (kind === S_IFLNK) throw new SysError('ELOOP', path);
    if (kind !== S_IFREG && kind !== S_IFDIR) throw new SysError('ENXIO', path);
    const fd = openBeneath(this.#root, nameOf(path), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (kindOf(fd) === kind) return fd;
    close(fd); // it has been replaced just now
    throw new SysError('ENXIO', path);
  }

  close(fd: number): void {
    close(fd);
  }

  read(fd: number, into: Uint8Array, at: number): number {
    return pread(fd, into, at);
  }

  entries(fd: number, from: bigint, most: number): readonly TreeEntry[] {
    return directoryEntries(fd, from, Math.max(most, 512));
  }

  target(path: string): Uint8Array {
    return this.#with(path, linkTarget);
  }

  space(): ReturnType<FileTree['space']> {
    const of = statfsSync(`/proc/self/fd/${this.#root}`, { bigint: true });
    return [Number(BigInt.asUintN(32, of.type)), Number(of.bsize), of.blocks, of.bfree, of.bavail, of.files, of.ffree];
  }

  /** Of a file as it is in its folder; a symbolic link itself. */
  #with<T>(path: string, work: (fd: number) => T): T {
    const fd = openBeneath(this.#root, nameOf(path), O_PATH | O_NOFOLLOW);
    try {
      return work(fd);
    } finally {
      close(fd);
    }
  }
}

const nameOf = (path: string): string => (path === '' ? '.' : path);

const viewOfStatx = (fd: number): DataView => new DataView(statxBytes(fd, STATX_BASIC_STATS).buffer);

const kindOf = (fd: number): number => viewOfStatx(fd).getUint16(STATX.mode, true) & S_IFMT;

function attributesOf(fd: number): Attributes {
  const view = viewOfStatx(fd);
  const u32 = (at: number): number => view.getUint32(at, true);
  const u64 = (at: number): bigint => view.getBigUint64(at, true);
  const time = (at: number): Time => ({ seconds: view.getBigInt64(at, true), ns: u32(at + 8) });
  return {
    inode: u64(STATX.ino),
    mode: view.getUint16(STATX.mode, true),
    uid: u32(STATX.uid),
    gid: u32(STATX.gid),
    nlink: u32(STATX.nlink),
    rdev: deviceNumber(u32(STATX.rdevMajor), u32(STATX.rdevMinor)),
    size: u64(STATX.size),
    blksize: u32(STATX.blksize),
    blocks: u64(STATX.blocks),
    atime: time(STATX.atime),
    mtime: time(STATX.mtime),
    ctime: time(STATX.ctime),
  };
}

/** dev_t as Linux's clients of 9P read it (new_decode_dev). */
const deviceNumber = (major: number, minor: number): bigint =>
  BigInt((minor & 0xff) | (major << 8)) | (BigInt(minor & ~0xff) << 12n);
