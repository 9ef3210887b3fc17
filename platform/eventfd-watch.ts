/**
 * Watches an eventfd of somebody else's as a kernel does: by an entry in its wait queue, which
 * keeps no file. When its users have closed it the entry is gone (EPOLLHUP of
 * drivers/vfio/virqfd.c), and nothing here has kept it open.
 */
import { readFileSync, readlinkSync } from 'node:fs';
import { close, EPOLLET, epollAdd, epollCreate, epollWait, POLLIN } from './libc.ts';

export class EventfdWatch {
  /** An epoll instance with that one entry: readable from a signal until takeEdge(). */
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

  /** Whether somebody still has the file open. */
  alive(): boolean {
    return readFileSync(`/proc/self/fdinfo/${this.epoll}`, 'latin1').includes('tfd:');
  }

  close(): void {
    close(this.epoll);
  }
}

/**
 * Of an EventfdWatch: whether it was signalled since the last time, if the file is still open.
 * Never sleeps.
 */
export const takeEdge = (epoll: number): boolean => epollWait(epoll, 0).length > 0;

/** Asks the file for nothing but its name. */
export const isEventfd = (fd: number): boolean => readlinkSync(`/proc/self/fd/${fd}`) === 'anon_inode:[eventfd]';

/** What tells an open eventfd from all others; undefined before Linux 5.2. */
export function eventfdId(fd: number): string | undefined {
  return /^eventfd-id:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1];
}
