/** poll(2). */
import { fromErrno } from '../errno.ts';
import { EINTR } from './check.ts';
import { c, lastErrno } from './ffi.ts';

export const POLLIN = 1;
export const POLLPRI = 2;
export const POLLOUT = 4;
export const POLLERR = 8;
export const POLLHUP = 0x10;
export const POLLRDHUP = 0x2000;

export interface PollFd {
  readonly fd: number;
  readonly events: number;
}

/**
 * poll(2). timeoutMs −1 waits for ever: only for callers that are woken by one of the fds.
 * Returns revents per entry, or undefined on time-out; a signal counts as a time-out.
 */
export function poll(fds: readonly PollFd[], timeoutMs: number): number[] | undefined {
  const view = new DataView(new ArrayBuffer(fds.length * 8));
  fds.forEach((entry, i) => {
    view.setInt32(i * 8, entry.fd, true);
    view.setInt16(i * 8 + 4, entry.events, true);
  });
  const result = c.poll(view, fds.length, timeoutMs);
  if (result < 0 && lastErrno() !== EINTR) throw fromErrno(lastErrno(), 'poll');
  if (result <= 0) return undefined;
  return fds.map((_, i) => view.getInt16(i * 8 + 6, true));
}
