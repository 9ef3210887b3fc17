/**
 * Files below a folder: no symbolic link is followed on the way, `..` does not leave the folder,
 * and no other file system is entered, whoever renames what meanwhile (openat2(2)).
 */
import { check } from './check.ts';
import { O_CLOEXEC } from './fd.ts';
import { c } from './ffi.ts';

const SYS_OPENAT2 = 437;
const SYS_GETDENTS64 = { x64: 217, arm64: 61 }[process.arch as 'x64' | 'arm64'] ?? 217;
const RESOLVE_NO_XDEV = 0x01;
const RESOLVE_NO_SYMLINKS = 0x04;
const RESOLVE_BENEATH = 0x08;
const SEEK_SET = 0;

/** close-on-exec. A symbolic link itself can be opened by O_PATH | O_NOFOLLOW; else it is ELOOP. */
export function openBeneath(root: number, path: string, flags: number): number {
  const how = new BigUint64Array([
    BigInt(flags | O_CLOEXEC),
    0n,
    BigInt(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV),
  ]);
  return check(Number(c.openat2(SYS_OPENAT2, root, path, how, how.byteLength)), `open ${path}`);
}

/** An entry of a folder. */
export interface DirectoryEntry {
  readonly inode: bigint;
  /** Where the entries behind it begin. */
  readonly next: bigint;
  /** DT_… */
  readonly type: number;
  readonly name: Uint8Array;
}

/** struct linux_dirent64 (getdents64(2)). */
const DIRENT = { next: 8, length: 16, type: 18, name: 19 };

/**
 * Some entries of an open folder from `from` on, which is 0 or the `next` of one; none: its end.
 * `bytes`: how many of getdents64(2), at least some hundred.
 */
export function directoryEntries(fd: number, from: bigint, bytes: number): readonly DirectoryEntry[] {
  check(Number(c.lseek(fd, from, SEEK_SET)), `lseek ${fd}`);
  const buffer = Buffer.alloc(bytes);
  const length = check(Number(c.getdents64(SYS_GETDENTS64, fd, buffer, bytes)), `getdents64 ${fd}`);
  const entries: DirectoryEntry[] = [];
  for (let at = 0; at < length; at += buffer.readUInt16LE(at + DIRENT.length)) {
    const name = at + DIRENT.name;
    entries.push({
      inode: buffer.readBigUInt64LE(at),
      next: buffer.readBigInt64LE(at + DIRENT.next),
      type: buffer[at + DIRENT.type]!,
      name: buffer.subarray(name, buffer.indexOf(0, name)),
    });
  }
  return entries;
}
