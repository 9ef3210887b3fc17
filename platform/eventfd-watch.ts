/**
 * Watches an eventfd of another process as a kernel does: by an entry in its wait queue, which does
 * not hold the file. When the users of the eventfd have closed it, the entry is gone (EPOLLHUP of
 * drivers/vfio/virqfd.c). This process does not keep it open.
 */
import { readFileSync, readlinkSync } from 'node:fs';
import { EPOLLET, epollAdd, epollCreate, epollWait } from './libc/epoll.ts';
import { close } from './libc/fd.ts';
import { POLLIN } from './libc/poll.ts';

export class EventfdWatch {
  /** An epoll instance with that one entry. It is readable from a signal until takeEdge(). */
  readonly epoll: number;

  /** Takes the fd, also when it throws. An eventfd that has a count is readable at once. */
  constructor(eventfd: number) {
    try {
      this.epoll = epollCreate();
      epollAdd(this.epoll, eventfd, POLLIN | EPOLLET);
    } finally {
      close(eventfd);
    }
  }

  /** Whether any process still has the file open. */
  alive(): boolean {
    return readFileSync(`/proc/self/fdinfo/${this.epoll}`, 'latin1').includes('tfd:');
  }

  close(): void {
    close(this.epoll);
  }
}

/**
 * Whether the eventfd of an EventfdWatch was signalled since the last call, and its file is still
 * open. Never sleeps.
 */
export const takeEdge = (epoll: number): boolean => epollWait(epoll, 0).length > 0;

/** Whether a fd is an eventfd. Looks at the file's name only, so it never waits. */
export const isEventfd = (fd: number): boolean => readlinkSync(`/proc/self/fd/${fd}`) === 'anon_inode:[eventfd]';

/** An id that tells an open eventfd from all others; undefined before Linux 5.2. */
export function eventfdId(fd: number): string | undefined {
  return /^eventfd-id:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1];
}
