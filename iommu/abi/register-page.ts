/**
 * The register page: one page of shared memory between a thread of a client and the worker of a
 * device, as a mapping of register BARs is on a machine with hardware. Loads and stores pass there
 * without the kernel, while the worker looks at the page or can be rung. It only makes accesses
 * faster: each can be made by pread and pwrite of the device instead.
 *
 * A load: `state` goes FREE → POSTED (client) → SERVING (worker) → DONE (worker) → FREE (client).
 * POSTED → FREE takes it back, when nobody has taken it. SERVING → ABANDONED (client) gives it up,
 * when the worker does not answer even the kernel; then the worker alone makes the page FREE.
 *
 * A store is posted, as on a bus: it lies in a queue, `produced` publishes it, and `consumed` says
 * how many the worker has made. The worker makes all stores of all pages that are published before
 * it makes any other access. So a later access by any thread comes after them, also one by the
 * kernel. While the BARs do not answer, a store is dropped.
 *
 * The worker trusts nothing here: it reads each word once, and what it reads is an access that is
 * checked against what the kernel allows (iommu/bus/register-pages.ts).
 */
import { stays } from '../../platform/look-for.ts';
import { PAGE_SIZE } from '../../platform/page.ts';
import { atomic32, atomic32s, bytes, defineShared, int32s, type SharedPart } from '../../platform/shared.ts';
import { AWAY, Bell, RINGS } from './bell.ts';

export const NR_BARS = 6;
/** Stores that the queue holds. */
export const QUEUE = 64;
/** Words of a store in the queue: WHAT, AT, LO, HI. */
export const STORE_WORDS = 4;

export const RegisterPage = defineShared('register page', {
  state: atomic32, // publishes the fields of a load in both directions
  pad0: bytes(60),
  attentive: atomic32, // Bell's, as are `bell` and `cpu`: the worker serves, the client posts
  consumed: atomic32, // worker: stores that it has made or dropped, modulo 2^32
  widest: atomic32, // kernel, once: the widest access, 4 or 8 bytes
  sizes: atomic32s(6), // kernel, once: bytes of BAR n that can be reached; 0: none
  pad1: bytes(28),
  what: atomic32, // client: BAR and size of the load (whatOf)
  at: atomic32, // client: offset in the BAR
  produced: atomic32, // client: stores in the queue, modulo 2^32; publishes them
  bell: atomic32,
  cpu: atomic32,
  pad2: bytes(44),
  lo: atomic32, // worker: the value
  hi: atomic32,
  pad3: bytes(56),
  queue: atomic32s(QUEUE * STORE_WORDS), // client
  pad4: bytes(PAGE_SIZE - 256 - QUEUE * STORE_WORDS * 4),
});

export const FREE = 0;
export const POSTED = 1;
export const SERVING = 2;
export const DONE = 3;
export const ABANDONED = 4;

/** BAR and size of an access in one word. */
export const whatOf = (bar: number, size: number): number => bar | (size << 8);
export const barOf = (what: number): number => what & 0xff;
export const sizeOf = (what: number): number => what >>> 8;

/** How long a client looks for the worker to take a load, and then for the value. */
export interface Patience {
  readonly takeMs: number;
  /** As takeMs, for a worker that must be woken first. */
  readonly wakeMs: number;
  readonly doneMs: number;
  /** Looks at the word between two looks at the clock. */
  readonly looks: number;
}

const PATIENCE: Patience = { takeMs: 0.06, wakeMs: 0.2, doneMs: 0.2, looks: 32 };

/**
 * The client's side: one thread of it. // HOT: 0.4 µs a load, 0.1 µs a store
 * (tools/bench/calls.ts)
 */
export class RegisterPageClient {
  readonly #words: Int32Array;
  readonly #bell: Bell;
  readonly #pass: () => void;
  readonly #patience: Patience;
  #produced: number;
  /** After a load: its value in two halves, unsigned. */
  lo = 0;
  hi = 0;

  /**
   * `pass` makes an access by the kernel that reaches the device. When it returns, the worker has
   * made what was in the page before, if it answers at all.
   */
  constructor(page: SharedPart, pass: () => void, patience = PATIENCE) {
    this.#words = int32s(page);
    this.#bell = new Bell(this.#words, RegisterPage.word, true);
    this.#pass = pass;
    this.#patience = patience;
    this.#produced = Atomics.load(this.#words, RegisterPage.word.produced);
  }

  /** Whether an access may pass here: 1, 2, 4 or 8 bytes, at a multiple of them, in a BAR. */
  allows(bar: number, at: number, size: number): boolean {
    const words = this.#words;
    if (size > words[RegisterPage.word.widest]! || (size & (size - 1)) !== 0 || at % size !== 0) return false;
    return bar < NR_BARS && at + size <= words[RegisterPage.word.sizes + bar]! >>> 0;
  }

  /**
   * Loads `size` bytes (1, 2, 4 or 8) at a multiple of it into `lo` and `hi`. False: the access
   * was not made.
   */
  load(bar: number, at: number, size: number): boolean {
    const words = this.#words;
    const { state } = RegisterPage.word;
    if (Atomics.load(words, RegisterPage.word.attentive) === AWAY) return false;
    if (Atomics.load(words, state) !== FREE) return false; // the worker has not come back to an earlier load
    words[RegisterPage.word.what] = whatOf(bar, size);
    words[RegisterPage.word.at] = at;
    Atomics.store(words, state, POSTED); // pairs with the exchange in RegisterPageServer
    const { takeMs, wakeMs, doneMs } = this.#patience;
    const patience = this.#bell.ring() === RINGS ? wakeMs : takeMs;
    if (this.#lasts(POSTED, patience) && Atomics.compareExchange(words, state, POSTED, FREE) === POSTED) return false;
    // The worker is in the middle of it, and may have lost its CPU.
    if (this.#lasts(SERVING, doneMs)) this.#pass();
    // pairs with the exchanges in RegisterPageServer
    const done = Atomics.compareExchange(words, state, SERVING, ABANDONED) === DONE;
    this.lo = done ? words[RegisterPage.word.lo]! >>> 0 : 0xffffffff; // ones: it does not answer any more
    this.hi = done ? words[RegisterPage.word.hi]! >>> 0 : 0xffffffff;
    if (done) Atomics.store(words, state, FREE);
    return true;
  }

  /** Posts a store, as load(). False: the store was not made. */
  store(bar: number, at: number, size: number, lo: number, hi: number): boolean {
    const words = this.#words;
    const { attentive, consumed, produced } = RegisterPage.word;
    if (Atomics.load(words, attentive) === AWAY) return false;
    const number = this.#produced;
    if ((number - Atomics.load(words, consumed)) >>> 0 >= QUEUE) return false; // the kernel's way empties it
    const base = RegisterPage.word.queue + (number % QUEUE) * STORE_WORDS;
    words[base] = whatOf(bar, size);
    words[base + 1] = at;
    words[base + 2] = lo;
    words[base + 3] = hi;
    this.#produced = (number + 1) >>> 0;
    Atomics.store(words, produced, this.#produced); // pairs with the load in RegisterPageServer
    // The worker may have looked for the last time before that: it first says so, and then looks.
    if (this.#bell.ring() === AWAY) this.#pass();
    return true;
  }

  /** True: the state has stayed `now` for so long. */
  #lasts(now: number, ms: number): boolean {
    return stays(this.#words, RegisterPage.word.state, now, ms, this.#patience.looks);
  }
}
