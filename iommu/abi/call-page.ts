/**
 * The call page: shared memory beside a task channel, through which the thread's short calls pass
 * while the kernel looks at it, or can be rung. It only makes calls faster. Every call can go by
 * the socket, and the answer to a call of the page may come there. It has two pages, so a call can
 * move a page of data. Earlier builds know the first one only: either side takes it as it finds it.
 *
 * `state` goes FREE → POSTED (client) → SERVING (kernel) → DONE (kernel) → FREE (client). Three
 * exchanges leave this way. POSTED → FREE: nobody has taken the call, and the client makes it by
 * the socket. SERVING → BY_SOCKET, by either side: the answer comes as a frame on the socket,
 * because the call sleeps, the answer does not fit, or the client has waited long enough. The
 * client then puts FREE. So each side can always go on alone, and neither waits for a word.
 *
 * A client that has rung (bell.ts) sleeps on `state`, if the kernel does not come soon, and says so
 * in `sleeps`. A build that does not know RINGS takes it for AWAY.
 *
 * The kernel trusts nothing here: it reads each word once, and what it reads is a request like one
 * that came by the socket.
 */
import { eproto } from '../../platform/errno.ts';
import { futexWait, futexWake, type WaitedWord } from '../../platform/libc/futex.ts';
import { stays } from '../../platform/look-for.ts';
import { PAGE_SIZE } from '../../platform/page.ts';
import { atomic32, bytes, defineShared, int32s, type SharedPart, uint8s } from '../../platform/shared.ts';
import { AWAKE, AWAY, Bell, RINGS } from './bell.ts';
import type { FileRequest, Reply } from './wire.ts';

const HEADER_BYTES = 256;
export const CALL_PAGES = 2;
/** The most bytes of an argument or a result. */
export const CALL_PAGE_DATA = CALL_PAGES * PAGE_SIZE - HEADER_BYTES;

const Page = defineShared('call page', {
  state: atomic32, // publishes all other fields in both directions
  pad0: bytes(60),
  attentive: atomic32, // Bell's, as are `bell` and `cpu`: the kernel serves, the client posts
  pad1: bytes(60),
  op: atomic32, // client: OP_*
  fd: atomic32, // client
  nr: atomic32, // client: ioctl
  lo: atomic32, // client: ioctl with a number, its low half; pread, pwrite: the offset's
  hi: atomic32, // client
  length: atomic32, // client: bytes of data; pread: how many bytes are asked for
  bell: atomic32,
  cpu: atomic32,
  sleeps: atomic32, // client: 1 = the kernel wakes it at `state` when the call leaves POSTED or SERVING
  pad2: bytes(28),
  ret: atomic32, // kernel: what the call returns, −errno included
  out: atomic32, // kernel: bytes of `data` that are the result, −1 for none
  pad3: bytes(56),
  data: bytes(CALL_PAGE_DATA), // client, then kernel
});

const FREE = 0;
const POSTED = 1;
const SERVING = 2;
const DONE = 3;
const BY_SOCKET = 4;

const OP_IOCTL_NUMBER = 1;
const OP_IOCTL_BYTES = 2;
const OP_PREAD = 3;
const OP_PWRITE = 4;

const TWO_32 = 2 ** 32;

/** What became of a call: nobody took it, it is answered, or its answer comes by the socket. */
export type Passed = 'refused' | 'answered' | 'by-socket';

/** How long a client looks for the kernel to take a call, and then for its answer. */
export interface Patience {
  readonly takeMs: number;
  /** How long it looks for a kernel that it has rung, and then sleeps until it is answered. */
  readonly wakeMs: number;
  readonly sleepMs: number;
  readonly answerMs: number;
  /** Looks at the word between two looks at the clock. */
  readonly looks: number;
}

export const PATIENCE: Patience = { takeMs: 0.15, wakeMs: 0.1, sleepMs: 10, answerMs: 0.2, looks: 32 };

/**
 * The client's side: one thread of it, one call at a time. // HOT: 0.9 µs a call with the kernel's
 * part (tools/bench/calls.ts)
 */
export class CallPageClient {
  readonly #words: Int32Array;
  readonly #bell: Bell;
  readonly #data: Uint8Array;
  readonly #patience: Patience;

  constructor(page: SharedPart, patience = PATIENCE) {
    this.#words = int32s(page);
    this.#bell = new Bell(this.#words, Page.word, true);
    this.#data = uint8s(page).subarray(HEADER_BYTES);
    this.#patience = patience;
  }

  /** ioctl(2) with a struct, or a number, as argument. */
  ioctl(fd: number, nr: number, arg: number | bigint | Uint8Array): Passed {
    if (nr >= TWO_32 || typeof arg === 'bigint' || !this.#open()) return 'refused';
    const words = this.#words;
    words[Page.word.nr] = nr;
    if (typeof arg === 'number') {
      this.#setLong(arg);
      return this.#pass(OP_IOCTL_NUMBER, fd, 0);
    }
    if (arg.length > this.#data.length) return 'refused';
    this.#data.set(arg);
    return this.#pass(OP_IOCTL_BYTES, fd, arg.length);
  }

  pread(fd: number, offset: number | bigint, length: number): Passed {
    if (typeof offset === 'bigint' || length > this.#data.length || !this.#open()) return 'refused';
    this.#setLong(offset);
    return this.#pass(OP_PREAD, fd, length);
  }

  pwrite(fd: number, offset: number | bigint, data: Uint8Array): Passed {
    if (typeof offset === 'bigint' || data.length > this.#data.length || !this.#open()) return 'refused';
    this.#setLong(offset);
    this.#data.set(data);
    return this.#pass(OP_PWRITE, fd, data.length);
  }

  /** After 'answered': what the call returns. */
  get ret(): number {
    return this.#words[Page.word.ret]!;
  }

  /** After 'answered': copies the result, if there is one, to the start of `into`. */
  takeOut(into: Uint8Array): void {
    const length = Math.min(this.#words[Page.word.out]!, into.length);
    if (length > 0) into.set(this.#data.subarray(0, length));
  }

  /** After 'answered': a copy of the result, if there is one. */
  get out(): Uint8Array | undefined {
    const length = this.#words[Page.word.out]!;
    return length < 0 ? undefined : this.#data.slice(0, length);
  }

  /** After 'answered' or 'by-socket', when the answer has been read: the page is free again. */
  free(): void {
    Atomics.store(this.#words, Page.word.state, FREE);
  }

  /** Whether the kernel looks, or can be rung. */
  #open(): boolean {
    return Atomics.load(this.#words, Page.word.attentive) !== AWAY;
  }

  #setLong(value: number): void {
    this.#words[Page.word.lo] = value; // modulo 2^32
    this.#words[Page.word.hi] = Math.floor(value / TWO_32);
  }

  #pass(op: number, fd: number, length: number): Passed {
    const words = this.#words;
    const { state } = Page.word;
    words[Page.word.op] = op;
    words[Page.word.fd] = fd;
    words[Page.word.length] = length;
    Atomics.store(words, state, POSTED); // pairs with the exchange in CallPageServer.take
    if (this.#bell.ring() === RINGS && this.#lasts(POSTED, this.#patience.wakeMs)) this.#sleep();
    if (this.#lasts(POSTED, this.#patience.takeMs) && Atomics.compareExchange(words, state, POSTED, FREE) === POSTED)
      return 'refused';
    if (this.#lasts(SERVING, this.#patience.answerMs)) Atomics.compareExchange(words, state, SERVING, BY_SOCKET);
    // pairs with the exchanges in CallPageServer.answer and .leave
    return Atomics.load(words, state) === DONE ? 'answered' : 'by-socket';
  }

  /** The kernel waits for a CPU, or has other calls to serve: leaves the CPU to it. */
  #sleep(): void {
    const words = this.#words;
    const { state, sleeps } = Page.word;
    // before Linux compares the state; pairs with the load in CallPageServer.#wake
    Atomics.store(words, sleeps, 1);
    futexWait({ words, index: state, shared: true, seen: POSTED }, this.#patience.sleepMs);
    Atomics.store(words, sleeps, 0);
  }

  /** True: the state has stayed `now` for so long. */
  #lasts(now: number, ms: number): boolean {
    return stays(this.#words, Page.word.state, now, ms, this.#patience.looks);
  }
}

/** Whether an answer has more than a page can carry. */
// HOT: a list of the keys costs 0.3 µs
function saysMore(reply: Reply): boolean {
  for (const key in reply) if (key !== 'ret' && key !== 'out') return true;
  return false;
}

/** The kernel's side. */
export class CallPageServer {
  readonly #words: Int32Array;
  readonly #bell: Bell;
  readonly #data: Uint8Array;
  /** The argument of the ioctl under way. There is one at a time. */
  readonly #argument = new Uint8Array(CALL_PAGE_DATA);

  constructor(page: SharedPart) {
    this.#words = int32s(page);
    this.#bell = new Bell(this.#words, Page.word, true);
    this.#data = uint8s(page).subarray(HEADER_BYTES);
  }

  /** Looks at the page from here on, or hears of no call there. */
  setAttentive(on: boolean): void {
    this.#bell.say(on ? AWAKE : AWAY);
  }

  /**
   * Lets the client ring. The caller must look at the page once more, and then wait for the bell:
   * the word that is returned.
   */
  letRing(): WaitedWord {
    return this.#bell.letRing();
  }

  /** The CPU from which the client has rung last. */
  rangOn(): number {
    return this.#words[Page.word.cpu]!;
  }

  /**
   * The call that waits, if there is one. Then answer() or leave() must follow. The bytes of an
   * ioctl's argument are the call's until it is answered, here or on the socket. EPROTO: what is
   * posted is no call.
   */
  take(): FileRequest | undefined {
    const words = this.#words;
    const { state } = Page.word;
    if (Atomics.load(words, state) !== POSTED) return undefined;
    // pairs with the store and the exchange in CallPageClient.#pass
    if (Atomics.compareExchange(words, state, POSTED, SERVING) !== POSTED) return undefined;
    const op = words[Page.word.op]!;
    const fd = words[Page.word.fd]!;
    const nr = words[Page.word.nr]! >>> 0;
    const long = words[Page.word.hi]! * TWO_32 + (words[Page.word.lo]! >>> 0);
    const length = words[Page.word.length]! >>> 0;
    if (length > this.#data.length || !Number.isSafeInteger(long)) throw eproto('malformed call in a page');
    switch (op) {
      case OP_IOCTL_NUMBER:
        return { op: 'ioctl', fd, nr, arg: long };
      case OP_IOCTL_BYTES:
        return { op: 'ioctl', fd, nr, arg: this.#takeArgument(length) };
      case OP_PREAD:
        return { op: 'pread', fd, offset: long, length };
      case OP_PWRITE:
        return { op: 'pwrite', fd, offset: long, data: this.#data.slice(0, length) };
    }
    throw eproto('malformed call in a page');
  }

  // HOT: a fresh buffer for 4 KiB costs 2.5 µs, and V8's time to free it
  #takeArgument(length: number): Uint8Array {
    const argument = this.#argument.subarray(0, length);
    argument.set(this.#data.subarray(0, length));
    return argument;
  }

  /** Answers the call that was taken. False: the answer must go by the socket. */
  answer(reply: Reply): boolean {
    const words = this.#words;
    const { ret, out } = reply;
    if (saysMore(reply)) return this.#toSocket();
    if (out && out.length > this.#data.length) return this.#toSocket();
    words[Page.word.ret] = ret;
    words[Page.word.out] = out ? out.length : -1;
    if (out) this.#data.set(out);
    // pairs with the load in CallPageClient.#lasts
    const answered = Atomics.compareExchange(words, Page.word.state, SERVING, DONE) === SERVING;
    this.#wake();
    return answered;
  }

  /** The call that was taken sleeps: its answer will go by the socket. */
  leave(): void {
    this.#toSocket();
  }

  #toSocket(): false {
    Atomics.compareExchange(this.#words, Page.word.state, SERVING, BY_SOCKET); // pairs as in answer
    this.#wake();
    return false;
  }

  #wake(): void {
    const words = this.#words;
    // after the exchange of the state; pairs with the store in CallPageClient.#sleep
    if (Atomics.load(words, Page.word.sleeps) === 1) futexWake({ words, index: Page.word.state, shared: true });
  }
}
