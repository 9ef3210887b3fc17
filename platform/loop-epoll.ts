/** The epoll instance in which a thread's event loop sleeps. Node has no public name for it. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/**
 * The epoll instance of this process that watches `fd`, one of the event loop's own (epoll(7),
 * proc_pid_fdinfo(5)). Undefined if there is none, or more than one.
 */
export function epollThatWatches(fd: number): number | undefined {
  const entry = new RegExp(`^tfd:\\s+${fd} `, 'm');
  const found = readdirSync('/proc/self/fd').filter((name) => {
    try {
      if (readlinkSync(`/proc/self/fd/${name}`) !== 'anon_inode:[eventpoll]') return false;
      return entry.test(readFileSync(`/proc/self/fdinfo/${name}`, 'latin1'));
    } catch {
      return false; // another thread has closed it
    }
  });
  return found.length === 1 ? Number(found[0]) : undefined;
}
