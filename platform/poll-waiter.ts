/**
 * Waits for fds to become readable, one time each; a thread has one of its own and sleeps in it. By
 * io_uring, which tells of a fd that was readable and is not any more; where that is not allowed by
 * epoll, which asks again when it is about to tell.
 */
import { SysError } from './errno.ts';
import {
  close,
  EPOLLONESHOT,
  epollAdd,
  epollCreate,
  epollModify,
  epollRemove,
  epollWait,
  type IoUring,
  ioUringClose,
  ioUringSetup,
  ioUringSubmit,
  ioUringWait,
  mmapRequests,
  munmap,
  POLLIN,
  ringWords,
} from './libc.ts';
import { PAGE_SIZE } from './page.ts';

export interface PollWaiter {
  /** Waits for `fd`, until it is told of or disarm(). */
  arm(fd: number): void;
  /** `fd` is told of no more; it can be closed. */
  disarm(fd: number): void;
  /** Sleeps until one of them is readable, or a signal comes: those that are. */
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

/** Linux keeps what is beyond that. */
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
      if (fd === undefined) continue; // of a disarm(), or disarmed
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
