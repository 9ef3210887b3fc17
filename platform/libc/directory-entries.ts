/** What is in an open folder (getdents64(2)), from any place on. */
import { check } from './check.ts';
import { c } from './ffi.ts';

const SYS_GETDENTS64 = { x64: 217, arm64: 61 }[process.arch as 'x64' | 'arm64'] ?? 217;
const SEEK_SET = 0;

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
