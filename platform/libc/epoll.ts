/** epoll(7), and the set of fds that may hang up. */
import { codeOf, fromErrno } from '../errno.ts';
import { check, EINTR } from './check.ts';
import { close } from './fd.ts';
import { c, lastErrno } from './ffi.ts';
import { POLLRDHUP } from './poll.ts';

const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;
export const EPOLLONESHOT = 0x4000_0000;
export const EPOLLET = 0x8000_0000;

/** struct epoll_event { u32 events; u64 data }, packed on x86-64 only. */
const EPOLL_EVENT = process.arch === 'x64' ? { bytes: 12, data: 4 } : { bytes: 16, data: 8 };

const MAX_EPOLL_EVENTS = 64;
/** For the answer of epoll_wait: one for the thread, which is in one call at a time. */
const events = new DataView(new ArrayBuffer(MAX_EPOLL_EVENTS * EPOLL_EVENT.bytes));
const NO_FDS: readonly number[] = [];

/** epoll_create1(2) */
export function epollCreate(): number {
  return check(c.epoll_create1(EPOLL_CLOEXEC), 'epoll_create1');
}

function epollControl(epoll: number, op: number, fd: number, events: number): void {
  const event = new DataView(new ArrayBuffer(EPOLL_EVENT.bytes));
  event.setUint32(0, events, true);
  event.setUint32(EPOLL_EVENT.data, fd, true);
  check(c.epoll_ctl(epoll, op, fd, event), 'epoll_ctl');
}

/**
 * Adds an entry whose data is the fd. The entry does not hold the file: it lives as long as the
 * file does, whichever processes close their fds of it.
 */
export function epollAdd(epoll: number, fd: number, events: number): void {
  epollControl(epoll, EPOLL_CTL_ADD, fd, events);
}

/** As epollAdd; an entry that is there already tells once more what is ready. */
export function epollArm(epoll: number, fd: number, events: number): void {
  try {
    epollAdd(epoll, fd, events);
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error;
    epollModify(epoll, fd, events);
  }
}

export function epollModify(epoll: number, fd: number, events: number): void {
  epollControl(epoll, EPOLL_CTL_MOD, fd, events);
}

export function epollRemove(epoll: number, fd: number): void {
  epollControl(epoll, EPOLL_CTL_DEL, fd, 0);
}

/**
 * epoll_wait(2): fds of entries that are ready, as they were added; none after timeoutMs (−1:
 * never) or a signal.
 */
export function epollWait(epoll: number, timeoutMs: number): readonly number[] {
  const count = c.epoll_wait(epoll, events, MAX_EPOLL_EVENTS, timeoutMs);
  if (count < 0 && lastErrno() !== EINTR) throw fromErrno(lastErrno(), 'epoll_wait');
  if (count <= 0) return NO_FDS;
  return Array.from({ length: count }, (_, i) => events.getUint32(i * EPOLL_EVENT.bytes + EPOLL_EVENT.data, true));
}

/**
 * An epoll instance that is only asked, never waited on. It tells which fds have hung up, with one
 * system call however many fds there are.
 */
export class HangUpSet {
  readonly #epoll = epollCreate();

  add(fd: number): void {
    epollAdd(this.#epoll, fd, POLLRDHUP); // EPOLLHUP is always reported
  }

  /** Removes a fd. No effect for one that is not in the set: a closed fd has left it already. */
  remove(fd: number): void {
    c.epoll_ctl(this.#epoll, EPOLL_CTL_DEL, fd, null);
  }

  /** Fds that have hung up. If there are many, only some of them. */
  hungUp(): readonly number[] {
    return epollWait(this.#epoll, 0);
  }

  close(): void {
    close(this.#epoll);
  }
}
