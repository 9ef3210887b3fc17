/** Files below a folder, which no path and no symbolic link in it leaves (openat2(2)). */
import { einval } from '../errno.ts';
import { check } from './check.ts';
import { c, lastErrno } from './ffi.ts';
import { openat2 } from './openat2.ts';

const RESOLVE_NO_MAGICLINKS = 0x02;
const RESOLVE_IN_ROOT = 0x10;
const AT_EMPTY_PATH = 0x1000;
const ENOENT = 2;
const PATH_MAX = 4096;
const STATX_BYTES = 256;
/** struct stat of x86-64 and, with less of it used, of arm64. */
const STAT_BYTES = { x64: 144, arm64: 128 }[process.arch as 'x64' | 'arm64'] ?? 144;

/** With the folder `root` as the root of the file system; close-on-exec. */
export const openInRoot = (root: number, path: string, flags: number): number =>
  openat2(root, path, flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);

/** The struct stat of an open file. */
export function statBytes(fd: number): Uint8Array {
  const stat = new Uint8Array(STAT_BYTES);
  check(c.fstatat(fd, '', stat, AT_EMPTY_PATH), `stat ${fd}`);
  return stat;
}

/** The struct statx of an open file, with the fields of `mask`. */
export function statxBytes(fd: number, mask: number): Uint8Array {
  const stat = new Uint8Array(STATX_BYTES);
  check(c.statx(fd, '', AT_EMPTY_PATH, mask, stat), `statx ${fd}`);
  return stat;
}

/** The target of an open symbolic link (O_PATH | O_NOFOLLOW). EINVAL: it is none. */
export function linkTarget(fd: number): Uint8Array {
  const target = new Uint8Array(PATH_MAX);
  const length = Number(c.readlinkat(fd, '', target, target.length));
  // By an empty path Linux says ENOENT of what is no link, and by a name EINVAL.
  if (length < 0 && lastErrno() === ENOENT) throw einval(`fd ${fd} is no symbolic link`);
  return target.subarray(0, check(length, `readlink ${fd}`));
}
