/**
 * Waits for fds to become readable, and reports each of them once. Each waiting thread has its own
 * waiter and sleeps in it. A waiter uses io_uring, which also reports a fd that was readable and is
 * not any more. Where io_uring is not allowed it uses epoll, which checks again just before it
 * reports.
 */
import { SysError } from './errno.ts';
import { EPOLLONESHOT, epollAdd, epollCreate, epollModify, epollRemove, epollWait } from './libc/epoll.ts';
import { close } from './libc/fd.ts';
import { POLLIN } from './libc/poll.ts';
import { RequestRing } from './request-ring.ts';

export interface PollWaiter {
  /** Waits for `fd` until it is reported, or until disarm(). */
  arm(fd: number): void;
  /** Stops waiting for `fd`, which can then be closed. */
  disarm(fd: number): void;
  /** Sleeps until an fd is readable, or a signal comes. Returns the readable ones. */
  wait(): readonly number[];
  close(): void;
}

export function createPollWaiter(): PollWaiter {
  try {
    return RingWaiter.create();
  } catch (error) {
    if (error instanceof SysError && (error.code === 'EPERM' || error.code === 'ENOSYS' || error.code === 'ENOMEM')) {
      return new EpollWaiter();
    }
    throw error;
  }
}

export class RingWaiter implements PollWaiter {
  readonly #ring: RequestRing;
  /** Requests under way: user data → fd, and back. */
  readonly #fds = new Map<number, number>();
  readonly #requests = new Map<number, number>();

  /** Errors of ioUringSetup. */
  static create(): RingWaiter {
    return new RingWaiter(RequestRing.create());
  }

  private constructor(ring: RequestRing) {
    this.#ring = ring;
  }

  arm(fd: number): void {
    const id = this.#ring.pollIn(fd);
    this.#fds.set(id, fd);
    this.#requests.set(fd, id);
  }

  disarm(fd: number): void {
    const id = this.#requests.get(fd);
    if (id === undefined) return;
    this.#forget(id, fd);
    this.#ring.removePoll(id);
  }

  #forget(id: number, fd: number): void {
    this.#fds.delete(id);
    this.#requests.delete(fd);
  }

  wait(): readonly number[] {
    this.#ring.wait();
    const ready: number[] = [];
    this.#ring.take((id, result) => {
      const fd = this.#fds.get(id);
      if (fd === undefined) return; // the completion of a disarm(), or of an fd that was disarmed
      this.#forget(id, fd);
      if (result > 0) ready.push(fd);
    });
    return ready;
  }

  close(): void {
    this.#ring.close();
  }
}

export class EpollWaiter implements PollWaiter {
  readonly #epoll = epollCreate();
  readonly #known = new Set<number>();

  arm(fd: number): void {
    if (this.#known.has(fd)) epollModify(this.#epoll, fd, POLLIN | EPOLLONESHOT);
    else epollAdd(this.#epoll, fd, POLLIN | EPOLLONESHOT);
    this.#known.add(fd);
  }

  disarm(fd: number): void {
    if (this.#known.delete(fd)) epollRemove(this.#epoll, fd);
  }

  wait(): readonly number[] {
    return epollWait(this.#epoll, -1);
  }

  close(): void {
    close(this.#epoll);
  }
}
