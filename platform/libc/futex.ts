/**
 * futex(2) on words that another process may have, too. Atomics.wait and Atomics.notify know only
 * the threads of one process.
 */

import { monotonicNs } from '../clock.ts';
import { fromErrno } from '../errno.ts';
import { EAGAIN, EINTR } from './check.ts';
import { c, lastErrno } from './ffi.ts';
import { vaddrOf } from './mmap.ts';

const SYS_FUTEX = { x64: 202, arm64: 98 }[process.arch as 'x64' | 'arm64'] ?? 202;
const SYS_FUTEX_WAITV = 449;
const FUTEX_WAIT = 0;
const FUTEX_WAKE = 1;
const FUTEX_PRIVATE_FLAG = 128;
/** struct futex_waitv (linux/futex.h): val u64, uaddr u64, flags u32, reserved u32. */
const WAITV = { size: 24, val: 0, uaddr: 8, flags: 16 };
export const FUTEX2_SIZE_U32 = 2;
export const FUTEX2_PRIVATE = 128;
const MOST_WORDS = 128; // FUTEX_WAITV_MAX
const CLOCK_MONOTONIC = 1;
const ETIMEDOUT = 110;
const EINVAL = 22;

/** A word in shared memory. */
export interface FutexWord {
  readonly words: Int32Array;
  readonly index: number;
  /** True for memory that other processes have mapped. */
  readonly shared: boolean;
}

/** A word to wait on, and its value when the thread last looked for work. */
export interface WaitedWord extends FutexWord {
  readonly seen: number;
}

/** A struct timespec. */
const deadline = new BigInt64Array(2);

/** The vaddr of each buffer. A shared buffer never moves. */
const bases = new WeakMap<ArrayBufferLike, number>();

/** Where the word is. */
export function vaddrOfWord({ words, index }: FutexWord): number {
  let base = bases.get(words.buffer);
  if (base === undefined) {
    base = vaddrOf(new Uint8Array(words.buffer));
    bases.set(words.buffer, base);
  }
  return base + words.byteOffset + 4 * index;
}

/**
 * FUTEX_WAKE: wakes the threads that sleep in futexWaitAny on this word. The caller has changed the
 * word before. HOT: 0.5 µs where nobody sleeps.
 */
export function futexWake(word: FutexWord): void {
  const op = FUTEX_WAKE | (word.shared ? 0 : FUTEX_PRIVATE_FLAG);
  c.syscall(SYS_FUTEX, vaddrOfWord(word), op, 0x7fffffff, null, 0, 0);
}

/**
 * FUTEX_WAIT: sleeps until the word is woken or is not `seen` any more, or timeoutMs passed. A
 * signal may end it, too.
 */
export function futexWait(word: WaitedWord, timeoutMs: number): void {
  const op = FUTEX_WAIT | (word.shared ? 0 : FUTEX_PRIVATE_FLAG);
  deadline[0] = BigInt(Math.floor(timeoutMs / 1000)); // of this operation it is no deadline: it counts from now
  deadline[1] = BigInt(Math.floor((timeoutMs % 1000) * 1e6));
  const result = Number(c.syscall(SYS_FUTEX, vaddrOfWord(word), op, word.seen >>> 0, deadline, 0, 0));
  checkWait(result, 'futex');
}

function checkWait(result: number, what: string): void {
  const errno = result < 0 ? lastErrno() : 0;
  if (errno !== 0 && errno !== EAGAIN && errno !== EINTR && errno !== ETIMEDOUT) throw fromErrno(errno, what);
}

let vector: DataView | undefined;

/**
 * futex_waitv(2): sleeps until one of the words is woken or is not `seen` any more, or timeoutMs
 * passed. A signal may end it, too.
 */
export function futexWaitAny(list: readonly WaitedWord[], timeoutMs: number): void {
  vector ??= new DataView(new ArrayBuffer(WAITV.size * MOST_WORDS));
  for (const [i, word] of list.entries()) {
    const at = i * WAITV.size;
    const address = vaddrOfWord(word);
    vector.setUint32(at + WAITV.val, word.seen, true);
    vector.setUint32(at + WAITV.uaddr, address, true);
    vector.setUint32(at + WAITV.uaddr + 4, Math.floor(address / 2 ** 32), true);
    vector.setUint32(at + WAITV.flags, FUTEX2_SIZE_U32 | (word.shared ? 0 : FUTEX2_PRIVATE), true);
  }
  const end = monotonicNs() + timeoutMs * 1e6;
  deadline[0] = BigInt(Math.floor(end / 1e9));
  deadline[1] = BigInt(Math.floor(end % 1e9));
  const result = Number(c.futex_waitv(SYS_FUTEX_WAITV, vector, list.length, 0, deadline, CLOCK_MONOTONIC));
  checkWait(result, 'futex_waitv');
}

/** Whether Linux has futex_waitv(2) for us: from 5.16 on, where no seccomp filter refuses it. */
export function hasFutexWaitAny(): boolean {
  const result = Number(c.futex_waitv(SYS_FUTEX_WAITV, null, 0, 0, null, CLOCK_MONOTONIC));
  return result < 0 && lastErrno() === EINVAL; // EINVAL: of no words
}
