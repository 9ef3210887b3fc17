/**
 * The folder of a socket that is to be made: its lock, and what lies there already. The lock ends
 * with its holder and leaves no file.
 */
import { closeSync, constants, lstatSync, openSync, unlinkSync } from 'node:fs';
import { dirname } from 'node:path';

import { codeOf, eaddrinuse, ebusy, eexist, enametoolong, SysError } from './errno.ts';
import { lockNow } from './libc/fd.ts';
import { MAX_SOCKET_PATH } from './libc/unix-socket.ts';

/**
 * How long to wait for the lock. It is held for a fraction of a millisecond, unless its holder is
 * stopped or is another program.
 */
const LOCK_MS = 2000;
const LOCK_RETRY_MS = 2;

/** ENAMETOOLONG, in one line about the path. */
export function checkLength(path: string): void {
  if (Buffer.byteLength(path) <= MAX_SOCKET_PATH) return;
  throw enametoolong(`${path}: a socket path has at most ${MAX_SOCKET_PATH} bytes`);
}

/** An open folder that is locked. EBUSY when it cannot be had in time. */
export function lockFolder(path: string): number {
  const fd = explained(path, () => openSync(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY));
  const wait = new Int32Array(new SharedArrayBuffer(4));
  for (let waitedMs = 0; ; waitedMs += LOCK_RETRY_MS) {
    if (lockNow(fd)) return fd;
    if (waitedMs >= LOCK_MS) break;
    // nobody can wake it: flock(2) has no time-out, and a signal must get through
    Atomics.wait(wait, 0, 0, LOCK_RETRY_MS);
  }
  closeSync(fd);
  throw ebusy(`${path}: somebody holds the lock of its folder`);
}

/** The error of a path that another process has. */
export const taken = (path: string): SysError => eaddrinuse(`${path}: somebody is listening there already`);

/**
 * Removes a socket that a dead process left; to be called under the lock. EADDRINUSE: `isAlive`
 * says that a process has it. EEXIST: something else lies there.
 */
export function removeDead(path: string, isAlive: (path: string) => boolean): void {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (!stat) return;
  if (!stat.isSocket()) throw eexist(`${path} exists and is not a socket`);
  if (isAlive(path)) throw taken(path);
  explained(path, () => unlinkSync(path));
}

/** The result of a system call. Its error says only what is wrong with the path. */
export function explained<T>(path: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw explanation(path, error);
  }
}

/** What an error of a system call says about the path. */
export function explanation(path: string, error: unknown): unknown {
  const code = codeOf(error);
  return code === undefined ? error : new SysError(code, `${path}: ${REASONS[code] ?? code}`);
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such folder',
  ENOTDIR: 'there is no such folder',
  EACCES: 'permission denied (EACCES)',
  EPERM: 'permission denied (EPERM)',
  EPROTOTYPE: 'somebody has a socket of another type there',
};
