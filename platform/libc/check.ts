/** What a foreign function returned, as a result or an error. */
import { fromErrno } from '../errno.ts';
import { lastErrno } from './ffi.ts';

export const EINTR = 4;
export const EAGAIN = 11;

/**
 * Tries before giving up on EAGAIN, which says that Linux had no memory for a request at that
 * moment.
 */
export const MAX_TRIES = 1000;

/** Throws the errno of a failed call; passes the result through otherwise. */
export function check(result: number, what: string): number {
  if (result < 0) throw fromErrno(lastErrno(), what);
  return result;
}

/** As check, but calls again when a signal interrupted the call. */
export function retry(call: () => number, what: string): number {
  for (;;) {
    const result = call();
    if (result >= 0) return result;
    const errno = lastErrno();
    if (errno !== EINTR) throw fromErrno(errno, what);
  }
}
