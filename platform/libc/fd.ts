/** File descriptors: opening, duplicating, closing, their close-on-exec flag, locks and ioctls. */
import { codeOf } from '../errno.ts';
import { check } from './check.ts';
import { c } from './ffi.ts';

export const O_RDWR = 2;
export const O_APPEND = 0o2000;
export const O_NOCTTY = 0o400;
export const O_NONBLOCK = 0o4000;
export const O_PATH = 0o10000000;
export const O_CLOEXEC = 0o2000000;
export const F_GETFD = 1;
export const F_SETFD = 2;
const F_GETFL = 3;
const F_SETFL = 4;
const F_DUPFD_CLOEXEC = 1030;
const FD_CLOEXEC = 1;
const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;
const LOCK_UN = 8;

/**
 * open(2), close-on-exec. Use it for a fd that another thread will close: Node remembers the fds
 * that a worker opens with fs.openSync, and closes those numbers once more when the worker ends.
 */
export function open(path: string, flags = O_RDWR): number {
  return check(c.open(path, flags | O_CLOEXEC), `open ${path}`);
}

/** open(2) with flags that may create the file, which gets this mode less the umask. */
export function openCreating(path: string, flags: number, mode: number): number {
  return check(c.open_creating(path, flags | O_CLOEXEC, mode), `open ${path}`);
}

/** dup(2): processes that are started from now on inherit the copy. */
export function dup(fd: number): number {
  return check(c.dup(fd), `dup ${fd}`);
}

/** dup3(2): `to` becomes a copy of `fd` that no other process inherits. */
export function dupTo(fd: number, to: number): void {
  check(c.dup3(fd, to, O_CLOEXEC), `dup3 ${fd} to ${to}`);
}

/** A copy that no other process inherits. */
export function dupCloexec(fd: number): number {
  return check(c.fcntl(fd, F_DUPFD_CLOEXEC, 0), `dup ${fd}`);
}

export function close(fd: number): void {
  check(c.close(fd), `close ${fd}`);
}

/** Sets or clears FD_CLOEXEC. Node sets it on 0–2 too: clear it there before an execve. */
export function setCloexec(fd: number, on: boolean): void {
  const flags = check(c.fcntl(fd, F_GETFD, 0), `fcntl ${fd}`);
  check(c.fcntl(fd, F_SETFD, on ? flags | FD_CLOEXEC : flags & ~FD_CLOEXEC), `fcntl ${fd}`);
}

export function getCloexec(fd: number): boolean {
  return (check(c.fcntl(fd, F_GETFD, 0), `fcntl ${fd}`) & FD_CLOEXEC) !== 0;
}

/** Calls on this fd, and on its duplicates, wait from now on. */
export function setBlocking(fd: number): void {
  const flags = check(c.fcntl(fd, F_GETFL, 0), `fcntl ${fd}`);
  check(c.fcntl(fd, F_SETFL, flags & ~O_NONBLOCK), `fcntl ${fd}`);
}

/** Calls on this fd, and on its duplicates, wait no more. */
export function setNonBlocking(fd: number): void {
  const flags = check(c.fcntl(fd, F_GETFL, 0), `fcntl ${fd}`);
  check(c.fcntl(fd, F_SETFL, flags | O_NONBLOCK), `fcntl ${fd}`);
}

/** flock(2), exclusive by default; false while another open file has it. */
export function lockNow(fd: number, { shared = false } = {}): boolean {
  try {
    check(c.flock(fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB), 'flock');
    return true;
  } catch (error) {
    if (codeOf(error) === 'EAGAIN') return false;
    throw error;
  }
}

/** flock(2), shared. It waits while another open file has the lock exclusively. */
export function lockShared(fd: number): void {
  check(c.flock(fd, LOCK_SH), 'flock');
}

/** flock(2): drops the lock that this open file has. */
export function unlock(fd: number): void {
  check(c.flock(fd, LOCK_UN), 'flock');
}

/** ioctl(2) with a number as argument. */
export function ioctlNumber(fd: number, request: number, arg: number | bigint): number {
  return check(c.ioctl_number(fd, request, arg), `ioctl ${request.toString(16)}`);
}

/** ioctl(2) with a struct argument. */
export function ioctl(fd: number, request: number, arg: Uint8Array | BigUint64Array): number {
  const result: number = c.ioctl(fd, request, arg);
  return result >= 0 ? result : check(result, `ioctl ${request.toString(16)}`);
}
