/**
 * Locks that keep two programs from writing one image, or from writing what another reads: QEMU's,
 * so that they hold between QEMU and us, too. A lock on byte 100 + n of the file says that its
 * holder uses permission n; a lock on byte 200 + n says that its holder does not share permission n
 * with others. The locks belong to the open file, and so go with the disk from one VMM to the next.
 */
import { codeOf, SysError } from '../../platform/errno.ts';
import { isByteLocked, lockByte } from '../../platform/libc/byte-lock.ts';

const USED = 100;
const NOT_SHARED = 200;
const READ = 0;
const WRITE = 1;
/** QEMU's names of the permissions. */
const NAMES = ['consistent read', 'write'] as const;

/** auto: an image is used without locks where its file system has none. */
export const LOCKING_MODES = ['auto', 'on', 'off'] as const;
export type LockingMode = (typeof LOCKING_MODES)[number];

export interface ImageUse {
  readonly readOnly: boolean;
  readonly locking: LockingMode;
  /** Whether others may write meanwhile (QEMU's share-rw). */
  readonly shareRw: boolean;
}

/** fcntl(2) on a file system, or a kernel, that has no such locks. */
const NO_LOCKS = ['ENOLCK', 'EOPNOTSUPP', 'ENOSYS', 'EINVAL'];

/**
 * Locks the image that is open as `fd`. EAGAIN: another open file is used in a way that does not go
 * with this use, told in QEMU's words. Errors of fcntl(2).
 */
export function lockImage(fd: number, { readOnly, locking, shareRw }: ImageUse): void {
  if (locking === 'off') return;
  const used = readOnly ? [READ] : [READ, WRITE];
  const notShared = shareRw ? [] : [WRITE];
  try {
    // First say, then look: of two who come at one time, one at least sees the other.
    for (const n of used) lockByte(fd, USED + n);
    for (const n of notShared) lockByte(fd, NOT_SHARED + n);
    for (const n of used) if (isByteLocked(fd, NOT_SHARED + n)) throw inUse(`Failed to get "${NAMES[n]}" lock`);
    for (const n of notShared) if (isByteLocked(fd, USED + n)) throw inUse(`Failed to get shared "${NAMES[n]}" lock`);
  } catch (error) {
    if (locking === 'auto' && NO_LOCKS.includes(codeOf(error) ?? '')) return;
    throw error;
  }
}

const inUse = (what: string): SysError => new SysError('EAGAIN', `${what}. Is another process using the image?`);
