/**
 * Waits for fds to become readable, and reports each of them once. Each waiting thread has its own
 * waiter and sleeps in it. A waiter uses io_uring, which also reports a fd that was readable and is
 * not any more. Where io_uring is not allowed it uses epoll, which checks again just before it
 * reports.
 */
import { SysError } from './errno.ts';
import { EPOLLONESHOT, epollAdd, epollCreate, epollModify, epollRemove, epollWait } from './libc/epoll.ts';
import { close } from './libc/fd.ts';
import {
  type IoUring,
  ioUringClose,
  ioUringSetup,
  ioUringSubmit,
  ioUringWait,
  mmapRequests,
  ringWords,
} from './libc/io-uring.ts';
import { munmap } from './libc/mmap.ts';
import { POLLIN } from './libc/poll.ts';
import { PAGE_SIZE } from './page.ts';

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

/** Completions that the ring has room for. Linux keeps further ones. */
const COMPLETIONS = 128;

/** struct io_uring_sqe and io_uring_cqe in words (linux/io_uring.h). */
const SQE = { opcode: 0, fd: 1, addr: 4, events: 7, userData: 8 };
const CQE = { words: 4, userData: 0, result: 2 };
const IORING_OP_POLL_ADD = 6;
const IORING_OP_POLL_REMOVE = 7;

export class RingWaiter implements PollWaiter {
  readonly #ring: IoUring;
  readonly #words: Int32Array;
  readonly #requestVaddr: number;
  /** The one request, which Linux has read when a submission returns. */
  readonly #request: Int32Array;
  /** Requests under way: user data → fd, and back. */
  readonly #fds = new Map<number, number>();
  readonly #requests = new Map<number, number>();
  #lastRequest = 0;

  /** Errors of ioUringSetup. */
  static create(): RingWaiter {
    return new RingWaiter(ioUringSetup(COMPLETIONS));
  }

  private constructor(ring: IoUring) {
    this.#ring = ring;
    this.#words = ringWords(ring.vaddr);
    this.#requestVaddr = mmapRequests(ring.fd);
    this.#request = ringWords(this.#requestVaddr);
  }

  arm(fd: number): void {
    const id = ++this.#lastRequest;
    this.#fds.set(id, fd);
    this.#requests.set(fd, id);
    const request = this.#request;
    request[SQE.opcode] = IORING_OP_POLL_ADD;
    request[SQE.fd] = fd;
    request[SQE.addr] = 0;
    request[SQE.events] = POLLIN;
    request[SQE.userData] = id;
    this.#submit();
  }

  disarm(fd: number): void {
    const id = this.#requests.get(fd);
    if (id === undefined) return;
    this.#forget(id, fd);
    const request = this.#request;
    request[SQE.opcode] = IORING_OP_POLL_REMOVE;
    request[SQE.fd] = -1;
    request[SQE.addr] = id;
    request[SQE.events] = 0;
    request[SQE.userData] = 0;
    this.#submit();
  }

  #forget(id: number, fd: number): void {
    this.#fds.delete(id);
    this.#requests.delete(fd);
  }

  #submit(): void {
    // with the request; Linux reads it in io_uring_enter
    Atomics.add(this.#words, this.#ring.sqTail, 1);
    ioUringSubmit(this.#ring.fd);
  }

  wait(): readonly number[] {
    ioUringWait(this.#ring.fd);
    const { cqHead, cqTail, cqes } = this.#ring;
    const words = this.#words;
    const ready: number[] = [];
    // with the completions before it: Linux stores it after them
    const tail = Atomics.load(words, cqTail);
    let head = Atomics.load(words, cqHead);
    for (; head !== tail; head = (head + 1) | 0) {
      const at = cqes + (head & (COMPLETIONS - 1)) * CQE.words;
      const id = words[at + CQE.userData]!;
      const fd = this.#fds.get(id);
      if (fd === undefined) continue; // the completion of a disarm(), or of an fd that was disarmed
      this.#forget(id, fd);
      if (words[at + CQE.result]! > 0) ready.push(fd);
    }
    Atomics.store(words, cqHead, head); // Linux may write there again
    return ready;
  }

  close(): void {
    munmap(this.#requestVaddr, PAGE_SIZE);
    ioUringClose(this.#ring);
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
