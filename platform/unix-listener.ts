/**
 * Listens at a path. A process that is killed leaves its socket behind, and no process listens on
 * it; the next process takes the path over. Two processes that start at once must not both find the
 * old socket dead: one would remove the socket that the other has just made. So looking, removing
 * and binding are done under a lock of the folder (socket-folder.ts).
 */
import { closeSync, linkSync, lstatSync, rmSync, unlinkSync, watch } from 'node:fs';
import { dirname, join } from 'node:path';

import { codeOf, etimedout, SysError } from './errno.ts';
import { close } from './libc/fd.ts';
import { bindUnix, connectUnixNow, MAX_SOCKET_PATH } from './libc/unix-socket.ts';
import { checkLength, explained, explanation, lockFolder, removeDead, taken } from './socket-folder.ts';

/** Only the owner may connect. */
const MODE = 0o600;
/**
 * A close-on-exec socket that listens at `path`, mode 0600; the caller removes the path before it
 * closes the socket. Each error is one line about the path: EADDRINUSE when somebody listens there,
 * EEXIST for something that is no socket, ENOENT without the folder, EACCES, ENAMETOOLONG.
 */
export function listenUnix(path: string): number {
  checkLength(path);
  const folder = lockFolder(path);
  try {
    removeDead(path, isAlive);
    return appear(path);
  } finally {
    closeSync(folder); // and with it the lock
  }
}

/**
 * Removes a socket that a dead process left, if it is one. It works under the lock, so that it
 * never removes a socket that another process has just made.
 */
export function removeDeadSocket(path: string): void {
  const folder = lockFolder(path);
  try {
    const isSocket = lstatSync(path, { throwIfNoEntry: false })?.isSocket() ?? false;
    if (isSocket && !isAlive(path)) unlinkSync(path);
  } finally {
    closeSync(folder);
  }
}

/**
 * Binds and listens under another name first, so that a process that sees the socket can connect at
 * once.
 */
function appear(path: string): number {
  const unready = nameBefore(path);
  removeDead(unready, isAlive);
  const fd = explained(path, () => bindUnix(unready, MODE));
  try {
    linkSync(unready, path);
    return fd;
  } catch (error) {
    close(fd);
    const code = codeOf(error) ?? 'EIO';
    // a process without the lock was faster
    throw code === 'EEXIST' ? taken(path) : new SysError(code, `${path}: ${code}`);
  } finally {
    rmSync(unready, { force: true });
  }
}

/** The first name of a socket: in the same folder, and not longer than a socket path may be. */
const nameBefore = (path: string): string =>
  Buffer.byteLength(path) < MAX_SOCKET_PATH ? `${path}~` : join(dirname(path), '~');

/**
 * Resolves when somebody listens at `path`: at once, or when the folder changes so. ETIMEDOUT after
 * `timeoutMs`.
 */
export function untilListening(path: string, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const watcher = watch(dirname(path), () => look());
    const end = (outcome: () => void): void => {
      clearTimeout(timer);
      watcher.close();
      outcome();
    };
    const look = (): void => {
      if (isAlive(path)) end(resolve);
    };
    const timer = setTimeout(() => {
      end(() => reject(etimedout(`${path}: nobody listens there after ${timeoutMs} ms`)));
    }, timeoutMs);
    look(); // after the watch has begun
  });
}

/** Whether somebody listens at a socket. The lock is not needed to ask. */
export function isAlive(path: string): boolean {
  try {
    close(connectUnixNow(path));
    return true;
  } catch (error) {
    const code = codeOf(error);
    if (code === 'EAGAIN') return true; // its queue is full
    if (code === 'ECONNREFUSED' || code === 'ENOENT') return false;
    throw explanation(path, error);
  }
}
