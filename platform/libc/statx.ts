/** The identity of a file (statx(2)). */
import { c } from './ffi.ts';

export const AT_FDCWD = -100;
const AT_EMPTY_PATH = 0x1000;
const AT_STATX_DONT_SYNC = 0x4000;
const STATX_TYPE = 1;
const STATX_INO = 0x100;

/** struct statx, linux/stat.h. */
const STATX = { mode: 28, ino: 32, devMajor: 136, devMinor: 140, size: 256 };

const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
const statxBuffer = new DataView(new ArrayBuffer(STATX.size));

export interface FileIdentity {
  readonly major: number;
  readonly minor: number;
  readonly inode: number;
  readonly regular: boolean;
}

/**
 * Identifies the file at a path from what the kernel knows of it already. It does not ask a file
 * system whose server may be slow or dead (AT_STATX_DONT_SYNC), so this never waits. Undefined when
 * there is no file.
 */
export function identify(path: string): FileIdentity | undefined {
  return statxIdentity(AT_FDCWD, path, AT_STATX_DONT_SYNC);
}

/** As identify, for an open fd, which may be one of O_PATH. */
export function identifyFd(fd: number): FileIdentity | undefined {
  return statxIdentity(fd, '', AT_STATX_DONT_SYNC | AT_EMPTY_PATH);
}

function statxIdentity(dirfd: number, path: string, flags: number): FileIdentity | undefined {
  if (c.statx(dirfd, path, flags, STATX_TYPE | STATX_INO, statxBuffer) !== 0) return undefined;
  return {
    major: statxBuffer.getUint32(STATX.devMajor, true),
    minor: statxBuffer.getUint32(STATX.devMinor, true),
    inode: statxBuffer.getUint32(STATX.ino, true) + statxBuffer.getUint32(STATX.ino + 4, true) * 2 ** 32,
    regular: (statxBuffer.getUint16(STATX.mode, true) & S_IFMT) === S_IFREG,
  };
}
