/**
 * An io_uring that a thread sleeps on: for fds that become readable, and for words that others
 * change. The thread that makes the ring is the only one that uses it.
 */
import { FUTEX2_PRIVATE, FUTEX2_SIZE_U32, vaddrOfWord, type WaitedWord } from './libc/futex.ts';
import {
  type IoUring,
  ioUringClose,
  ioUringSetup,
  ioUringSubmit,
  ioUringWait,
  ioUringWaitFor,
  mmapRequests,
  ringWords,
} from './libc/io-uring.ts';
import { munmap } from './libc/mmap.ts';
import { POLLIN } from './libc/poll.ts';
import { PAGE_SIZE } from './page.ts';

/** Completions that the ring has room for. Linux keeps further ones. */
const COMPLETIONS = 128;

/** struct io_uring_sqe and io_uring_cqe in words (linux/io_uring.h). */
const SQE = { words: 16, opcode: 0, fd: 1, addr2: 2, addr: 4, opFlags: 7, userData: 8, addr3: 12 };
const CQE = { words: 4, userData: 0, result: 2 };
const IORING_OP_POLL_ADD = 6;
const IORING_OP_POLL_REMOVE = 7;
const IORING_OP_ASYNC_CANCEL = 14;
const IORING_OP_FUTEX_WAIT = 51;
const FUTEX_BITSET_MATCH_ANY = -1;

/** The user data of requests whose completion says nothing. */
const NOTHING = 0;

export class RequestRing {
  readonly #ring: IoUring;
  readonly #words: Int32Array;
  readonly #requestVaddr: number;
  /** The one request, which Linux has read when a submission returns. */
  readonly #request: Int32Array;
  #last = NOTHING;

  /** Errors of ioUringSetup. */
  static create(): RequestRing {
    return new RequestRing(ioUringSetup(COMPLETIONS));
  }

  private constructor(ring: IoUring) {
    this.#ring = ring;
    this.#words = ringWords(ring.vaddr);
    this.#requestVaddr = mmapRequests(ring.fd);
    this.#request = ringWords(this.#requestVaddr);
  }

  /** Waits for `fd` to become readable, once; the request's number. Its result is above 0 then. */
  pollIn(fd: number): number {
    const request = this.#begin(IORING_OP_POLL_ADD);
    request[SQE.fd] = fd;
    request[SQE.opFlags] = POLLIN;
    return this.#submit(this.#next());
  }

  /**
   * Waits until the word is woken (futex(2)) or is not `seen` any more, once; the request's number.
   * Its result is 0 or −EAGAIN then; −EINVAL at once where Linux has no such request (before 6.7).
   */
  waitForWord(word: WaitedWord): number {
    const vaddr = vaddrOfWord(word);
    const request = this.#begin(IORING_OP_FUTEX_WAIT);
    request[SQE.fd] = FUTEX2_SIZE_U32 | (word.shared ? 0 : FUTEX2_PRIVATE);
    request[SQE.addr2] = word.seen;
    request[SQE.addr] = vaddr;
    request[SQE.addr + 1] = Math.floor(vaddr / 2 ** 32);
    request[SQE.addr3] = FUTEX_BITSET_MATCH_ANY;
    return this.#submit(this.#next());
  }

  /** Ends a request of pollIn() that has not completed. */
  removePoll(id: number): void {
    this.#begin(IORING_OP_POLL_REMOVE)[SQE.addr] = id;
    this.#submit(NOTHING);
  }

  /** Ends any request that has not completed: from here on nothing touches its word. */
  cancel(id: number): void {
    this.#begin(IORING_OP_ASYNC_CANCEL)[SQE.addr] = id;
    this.#submit(NOTHING);
  }

  #next(): number {
    this.#last = this.#last === 0x7fff_ffff ? NOTHING + 1 : this.#last + 1;
    return this.#last;
  }

  #begin(opcode: number): Int32Array {
    const request = this.#request;
    request.fill(0, 0, SQE.words);
    request[SQE.opcode] = opcode;
    request[SQE.fd] = -1;
    return request;
  }

  #submit(id: number): number {
    this.#request[SQE.userData] = id;
    // with the request; Linux reads it in io_uring_enter
    Atomics.add(this.#words, this.#ring.sqTail, 1);
    ioUringSubmit(this.#ring.fd);
    return id;
  }

  /**
   * Sleeps until there is a completion, or a signal comes; for timeoutMs at the longest, if it is
   * given.
   */
  wait(timeoutMs?: number): void {
    if (timeoutMs === undefined) ioUringWait(this.#ring.fd);
    else ioUringWaitFor(this.#ring.fd, timeoutMs);
  }

  /** Whether there is a completion. */
  // HOT: two loads
  any(): boolean {
    const { cqHead, cqTail } = this.#ring;
    return Atomics.load(this.#words, cqTail) !== this.#words[cqHead];
  }

  /** Takes all completions: calls `each` with the request's number and its result. */
  take(each: (id: number, result: number) => void): void {
    const { cqHead, cqTail, cqes } = this.#ring;
    const words = this.#words;
    // with the completions before it: Linux stores it after them
    const tail = Atomics.load(words, cqTail);
    let head = words[cqHead]!;
    while (head !== tail) {
      const at = cqes + (head & (COMPLETIONS - 1)) * CQE.words;
      const id = words[at + CQE.userData]!;
      const result = words[at + CQE.result]!;
      head = (head + 1) | 0;
      Atomics.store(words, cqHead, head); // Linux may write there again
      if (id !== NOTHING) each(id, result);
    }
  }

  close(): void {
    munmap(this.#requestVaddr, PAGE_SIZE);
    ioUringClose(this.#ring);
  }
}
