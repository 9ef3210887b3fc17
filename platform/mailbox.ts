/**
 * Register accesses across threads: request slots in shared memory, with many requesters and one
 * server. A mailbox does what a bus does between CPU and device: it carries a posted write or read,
 * and an answer or a completion time-out.
 *
 * A slot goes FREE → CLAIMED (by one requester, cmpxchg) → POSTED → DONE (by the server) → FREE. A
 * requester that gives up turns POSTED into ABANDONED, and the server frees the slot. The `bell`
 * word counts posts, and the server sleeps on it. Threads that have other work for the server ring
 * it, too.
 */
import { type FutexWord, futexWaitAny, futexWake, type WaitedWord } from './libc/futex.ts';
import { atomic32, bytes, defineShared } from './shared.ts';

const SLOTS = 8;

const Header = defineShared('mailbox', {
  bell: atomic32, // any thread adds 1 and notifies; the server waits for it to change
  inLinux: atomic32, // server: 1 = it sleeps in futex(2), where Atomics.notify does not reach it
  pad0: bytes(56),
  freed: atomic32, // requesters add 1 and notify when a slot becomes free
  pad1: bytes(60),
});

const Slot = defineShared('mailbox slot', {
  state: atomic32, // publishes all other fields in both directions
  op: atomic32, // requester: READ or WRITE
  region: atomic32, // requester: which BAR, or CONFIG
  offset: atomic32, // requester: byte offset in the region
  size: atomic32, // requester: 1, 2, 4 or 8
  lo: atomic32, // requester (write) or server (read)
  hi: atomic32,
  pad: bytes(36),
});

const FREE = 0;
const CLAIMED = 1;
const POSTED = 2;
const DONE = 3;
const ABANDONED = 4;

const OP_READ = 0;
const OP_WRITE = 1;

/** Region numbers: BAR 0–5 and the ROM as in VFIO (NUM-5), then config space. */
export const REGION_CONFIG = 7;

export const MAILBOX_BYTES = Header.size + SLOTS * Slot.size;

const slotBase = (slot: number): number => (Header.size + slot * Slot.size) / 4;

/** Rings the server's bell without posting a request: "look at your other words". */
export function ringBell(mailbox: SharedArrayBuffer): void {
  ring(new Int32Array(mailbox));
}

function ring(words: Int32Array): void {
  Atomics.add(words, Header.word.bell, 1); // pairs with the load in MailboxServer.bell
  Atomics.notify(words, Header.word.bell);
  // after the add; pairs with the store in MailboxServer.waitWith
  if (Atomics.load(words, Header.word.inLinux) !== 0) futexWake(bellOf(words));
}

const bellOf = (words: Int32Array): FutexWord => ({ words, index: Header.word.bell, shared: false });

/** A 64-bit value as its two 32-bit halves, both unsigned. */
export interface Halves {
  readonly lo: number;
  readonly hi: number;
}

const ONES: Halves = { lo: 0xffffffff, hi: 0xffffffff };

/** The requester's side. It blocks its thread, so a main thread must never use it. */
export class MailboxClient {
  readonly #words: Int32Array;
  readonly #timeoutMs: number;
  /** Requests that ended in a completion time-out. */
  timeouts = 0;

  constructor(mailbox: SharedArrayBuffer, timeoutMs = 1000) {
    this.#words = new Int32Array(mailbox);
    this.#timeoutMs = timeoutMs;
  }

  /**
   * Reads `size` bytes; all ones if the device does not answer in time (PCIe 6.0 §2.8 completion
   * timeout).
   */
  read(region: number, offset: number, size: number): Halves {
    return this.#request(OP_READ, region, offset, size, 0, 0) ?? ONES;
  }

  /** Writes `size` bytes and waits until the device has taken them. */
  write(region: number, offset: number, size: number, lo: number, hi = 0): void {
    this.#request(OP_WRITE, region, offset, size, lo, hi);
  }

  #claim(deadline: number): number {
    const words = this.#words;
    for (;;) {
      const freed = Atomics.load(words, Header.word.freed);
      for (let slot = 0; slot < SLOTS; slot++) {
        if (Atomics.compareExchange(words, slotBase(slot) + Slot.word.state, FREE, CLAIMED) === FREE) return slot;
      }
      const left = deadline - performance.now();
      if (left <= 0) return -1;
      Atomics.wait(words, Header.word.freed, freed, left); // woken by #free and MailboxServer.serve
    }
  }

  #request(op: number, region: number, offset: number, size: number, lo: number, hi: number): Halves | undefined {
    const words = this.#words;
    const deadline = performance.now() + this.#timeoutMs;
    const slot = this.#claim(deadline);
    if (slot < 0) {
      this.timeouts++;
      return undefined;
    }
    const base = slotBase(slot);
    const state = base + Slot.word.state;
    words[base + Slot.word.op] = op;
    words[base + Slot.word.region] = region;
    words[base + Slot.word.offset] = offset;
    words[base + Slot.word.size] = size;
    words[base + Slot.word.lo] = lo;
    words[base + Slot.word.hi] = hi;
    Atomics.store(words, state, POSTED); // pairs with the load in MailboxServer.serve
    ring(words);
    for (;;) {
      const left = deadline - performance.now();
      Atomics.wait(words, state, POSTED, Math.max(0, left)); // woken by MailboxServer.serve
      if (Atomics.load(words, state) === DONE) break; // pairs with the exchange in MailboxServer.serve
      if (left <= 0 && Atomics.compareExchange(words, state, POSTED, ABANDONED) === POSTED) {
        this.timeouts++;
        return undefined;
      }
    }
    const answer = { lo: words[base + Slot.word.lo]! >>> 0, hi: words[base + Slot.word.hi]! >>> 0 };
    free(words, state);
    return answer;
  }
}

function free(words: Int32Array, state: number): void {
  Atomics.store(words, state, FREE);
  Atomics.add(words, Header.word.freed, 1); // pairs with the load in MailboxClient.#claim
  Atomics.notify(words, Header.word.freed, 1);
}

/** What a server does with one access. */
export interface MailboxHandler {
  read(region: number, offset: number, size: number): Halves;
  write(region: number, offset: number, size: number, lo: number, hi: number): void;
}

/** The server's side. There is one per mailbox, on the thread that owns the registers. */
export class MailboxServer {
  readonly #words: Int32Array;

  constructor(mailbox: SharedArrayBuffer) {
    this.#words = new Int32Array(mailbox);
  }

  /** The bell's value: load it before looking for work, then wait for it to change. */
  bell(): number {
    // pairs with the add in MailboxClient and ringBell
    return Atomics.load(this.#words, Header.word.bell);
  }

  /**
   * Sleeps until the bell is no longer `seen`, or timeoutMs passed. Woken by every post and by
   * ringBell.
   */
  wait(seen: number, timeoutMs: number): void {
    Atomics.wait(this.#words, Header.word.bell, seen, timeoutMs);
  }

  /**
   * As wait(), but a change of one of the `others` ends the sleep, too. They may be shared with
   * other processes.
   */
  waitWith(seen: number, others: readonly WaitedWord[], timeoutMs: number): void {
    const words = this.#words;
    // before Linux compares the bell; pairs with the load in ring
    Atomics.store(words, Header.word.inLinux, 1);
    try {
      futexWaitAny([{ ...bellOf(words), seen }, ...others], timeoutMs);
    } finally {
      Atomics.store(words, Header.word.inLinux, 0);
    }
  }

  /** Serves all posted requests; true if there was one. */
  serve(handler: MailboxHandler): boolean {
    const words = this.#words;
    let served = false;
    for (let slot = 0; slot < SLOTS; slot++) {
      const base = slotBase(slot);
      const state = base + Slot.word.state;
      const now = Atomics.load(words, state); // pairs with the store in MailboxClient
      if (now === ABANDONED) free(words, state);
      if (now !== POSTED) continue;
      served = true;
      this.#handle(base, handler);
      if (Atomics.compareExchange(words, state, POSTED, DONE) === POSTED) Atomics.notify(words, state);
      else free(words, state); // the requester gave up meanwhile
    }
    return served;
  }

  #handle(base: number, handler: MailboxHandler): void {
    const words = this.#words;
    const region = words[base + Slot.word.region]!;
    const offset = words[base + Slot.word.offset]! >>> 0;
    const size = words[base + Slot.word.size]!;
    if (words[base + Slot.word.op] === OP_WRITE) {
      handler.write(region, offset, size, words[base + Slot.word.lo]! >>> 0, words[base + Slot.word.hi]! >>> 0);
      return;
    }
    const value = handler.read(region, offset, size);
    words[base + Slot.word.lo] = value.lo;
    words[base + Slot.word.hi] = value.hi;
  }
}
