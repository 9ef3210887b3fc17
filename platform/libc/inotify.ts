/** inotify(7), as far as it tells that an open file of an object is closed. */
import { fromErrno } from '../errno.ts';
import { check, EAGAIN, EINTR } from './check.ts';
import { c, lastErrno } from './ffi.ts';

const IN_NONBLOCK = 0o4000;
const IN_CLOEXEC = 0o2000000;
const IN_CLOSE = 0x08 | 0x10; // IN_CLOSE_WRITE, IN_CLOSE_NOWRITE
/** struct inotify_event without its name; events of a watch on a file have none. */
const EVENT_BYTES = 16;
const events = new DataView(new ArrayBuffer(64 * EVENT_BYTES));

/** inotify_init1(2): reading never waits. EMFILE: the user has as many instances as allowed. */
export function inotifyCreate(): number {
  return check(c.inotify_init1(IN_NONBLOCK | IN_CLOEXEC), 'inotify_init1');
}

/**
 * From now on an event comes when an open file of the object behind `fd` has lost its last fd and
 * its last mapping. Returns the number of the watch. ENOSPC: the user has too many watches.
 */
export function watchCloses(inotify: number, fd: number): number {
  return check(c.inotify_add_watch(inotify, `/proc/self/fd/${fd}`, IN_CLOSE), `watch fd ${fd}`);
}

/** The watches with an event since the last time; −1 stands for all (IN_Q_OVERFLOW). */
export function takeCloses(inotify: number): readonly number[] {
  const watches: number[] = [];
  for (;;) {
    const bytes = Number(c.read(inotify, events, events.byteLength));
    if (bytes < 0 && lastErrno() === EINTR) continue;
    if (bytes < 0 && lastErrno() === EAGAIN) return watches;
    if (bytes < 0) throw fromErrno(lastErrno(), 'inotify');
    for (let at = 0; at < bytes; at += EVENT_BYTES) watches.push(events.getInt32(at, true));
  }
}
