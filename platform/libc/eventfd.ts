/** Eventfds. */
import { fromErrno } from '../errno.ts';
import { check, EAGAIN, EINTR } from './check.ts';
import { c, lastErrno } from './ffi.ts';
import { vaddrOf } from './mmap.ts';

export const EFD_CLOEXEC = 0o2000000;
export const EFD_NONBLOCK = 0o4000;

export function eventfd(initial = 0, flags = EFD_CLOEXEC): number {
  return check(c.eventfd(initial, flags), 'eventfd');
}

const one = new Uint8Array(new BigUint64Array([1n]).buffer);

/**
 * Adds 1 to an eventfd's count (what a kernel's eventfd_signal does). A full counter is not an
 * error (EAGAIN on a non-blocking one).
 */
export function eventfdSignal(fd: number): void {
  const result = Number(c.write(fd, one, 8));
  if (result < 0 && lastErrno() !== EAGAIN) throw fromErrno(lastErrno(), `eventfd ${fd}`);
}

const RWF_NOWAIT = 8;
const drained = new Uint8Array(8);

/**
 * Reads and clears an eventfd's count, and never sleeps, whatever flags the other users of the file
 * have set; false when there was nothing to read.
 */
export function eventfdDrain(fd: number): boolean {
  const iovec = new BigUint64Array([BigInt(vaddrOf(drained)), 8n]);
  if (Number(c.preadv2(fd, iovec, 1, -1, RWF_NOWAIT)) >= 0) return true;
  const errno = lastErrno();
  if (errno === EAGAIN || errno === EINTR) return false;
  throw fromErrno(errno, `eventfd ${fd}`);
}

/** Reads and clears an eventfd's count; 0 when a non-blocking one is empty. */
export function eventfdRead(fd: number): number {
  const count = new BigUint64Array(1);
  const result = Number(c.read(fd, count, 8));
  if (result < 0) {
    if (lastErrno() === EAGAIN) return 0;
    throw fromErrno(lastErrno(), `eventfd ${fd}`);
  }
  return Number(count[0]);
}
