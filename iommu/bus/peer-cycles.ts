/**
 * Register accesses from one function of the bus to another: DMA that ends in a register BAR. The
 * device worker that owns the registers makes each access, as it makes those of the CPU
 * (platform/mailbox.ts).
 *
 * Each function has a box with one slot for every function that may ask it; the slot's number is
 * the PCI slot of the requester. So nobody waits for a slot. A slot goes FREE → POSTED (requester)
 * → SERVING → DONE (server) → FREE (requester). A requester that gives up turns POSTED into
 * ABANDONED, and the server frees the slot. From SERVING on it waits for the end of the access, or
 * of the server's worker: an access that was given up is never made. An IOMMU fence relies on that.
 *
 * The requester sleeps on its own bell, not on the slot. It serves its own registers meanwhile, or
 * two functions that ask each other would wait for ever (PCIe 6.0 §2.4.1: completions pass
 * requests).
 */
import { type Halves, MailboxServer, ringBell } from '../../platform/mailbox.ts';
import { atomic32, bytes, defineShared } from '../../platform/shared.ts';

/** Slots of a PCI bus. */
export const NR_PEERS = 32;

const Box = defineShared('peer box', {
  posted: atomic32, // a bit for each slot: requesters set theirs, the server takes all
  closed: atomic32, // board: 1 = the function's worker has ended
  pad: bytes(56),
});

const Slot = defineShared('peer slot', {
  state: atomic32, // publishes all other fields in both directions
  isWrite: atomic32, // requester
  bar: atomic32, // requester
  at: atomic32, // requester: byte offset in the BAR
  size: atomic32, // requester: 1, 2, 4 or 8
  lo: atomic32, // requester (write) or server (read)
  hi: atomic32,
  answered: atomic32, // server: 0 = nothing is there, or it does not decode now
  pad: bytes(32),
});

const FREE = 0;
const POSTED = 1;
const SERVING = 2;
const DONE = 3;
const ABANDONED = 4;

/** Below the time-out of a fence (Unit.fenceTimeoutMs), which waits for the access. */
const TIMEOUT_MS = 400;

export function createPeerBox(): SharedArrayBuffer {
  return new SharedArrayBuffer(Box.size + NR_PEERS * Slot.size);
}

/**
 * Answers what waits in the box of a function whose worker has ended, and what comes later: nothing
 * is there. `bells` as in PeerServer.
 */
export function closePeerBox(box: SharedArrayBuffer, bells: readonly (SharedArrayBuffer | undefined)[]): void {
  const words = new Int32Array(box);
  Atomics.store(words, Box.word.closed, 1); // pairs with the load in PeerRequester.#cycle
  for (const [number, bell] of bells.entries()) {
    const base = slotBase(number);
    const state = base + Slot.word.state;
    const served = Atomics.load(words, state) === SERVING;
    if (!served && Atomics.compareExchange(words, state, POSTED, SERVING) !== POSTED) continue;
    words[base + Slot.word.answered] = 0;
    Atomics.store(words, state, DONE); // pairs with the load in #waitFor
    if (bell) ringBell(bell);
  }
}

const slotBase = (number: number): number => (Box.size + number * Slot.size) / 4;

/** A register BAR of another function, or of the requester itself. */
export interface PeerBar {
  readonly bar: number;
  readonly box: SharedArrayBuffer;
  readonly mailbox: SharedArrayBuffer;
}

export interface PeerRequesterOptions {
  /** The requester's PCI slot. */
  readonly number: number;
  readonly mailbox: SharedArrayBuffer;
  /** Serves the accesses that wait for the requester itself. */
  readonly serve: () => void;
  /** Whether the board wants the requester's worker to end. */
  readonly stopping: () => boolean;
  readonly timeoutMs?: number;
}

/**
 * A function as the requester. It blocks its device worker, for TIMEOUT_MS at the most and for the
 * time of one register access.
 */
export class PeerRequester {
  readonly #options: PeerRequesterOptions;
  readonly #own: MailboxServer;
  #busy = false;

  constructor(options: PeerRequesterOptions) {
    this.#options = options;
    this.#own = new MailboxServer(options.mailbox);
  }

  /**
   * Reads `size` bytes (1, 2, 4 or 8) at a multiple of it. Undefined when nothing answers, or not
   * in time, and in the middle of another access of this requester.
   */
  read(bar: PeerBar, at: number, size: number): Halves | undefined {
    return this.#cycle(bar, { isWrite: 0, at, size, value: { lo: 0, hi: 0 } });
  }

  /** Writes as read(). False when nothing has taken the value. */
  write(bar: PeerBar, at: number, size: number, value: Halves): boolean {
    return this.#cycle(bar, { isWrite: 1, at, size, value }) !== undefined;
  }

  #cycle({ bar, box, mailbox }: PeerBar, { isWrite, at, size, value }: Cycle): Halves | undefined {
    const words = new Int32Array(box);
    const base = slotBase(this.#options.number);
    const state = base + Slot.word.state;
    // An access that was given up is in the slot until the server has looked at it.
    if (this.#busy || Atomics.load(words, state) !== FREE) return undefined;
    if (Atomics.load(words, Box.word.closed) === 1) return undefined; // pairs with the store in closePeerBox
    words[base + Slot.word.isWrite] = isWrite;
    words[base + Slot.word.bar] = bar;
    words[base + Slot.word.at] = at;
    words[base + Slot.word.size] = size;
    words[base + Slot.word.lo] = value.lo;
    words[base + Slot.word.hi] = value.hi;
    Atomics.store(words, state, POSTED); // pairs with the exchange in PeerServer.#take
    Atomics.or(words, Box.word.posted, 1 << this.#options.number); // pairs with the exchange in serve
    ringBell(mailbox);
    this.#busy = true;
    const done = this.#waitFor(words, state);
    this.#busy = false;
    if (!done) return undefined;
    const answered = words[base + Slot.word.answered] === 1;
    const answer = { lo: words[base + Slot.word.lo]! >>> 0, hi: words[base + Slot.word.hi]! >>> 0 };
    Atomics.store(words, state, FREE);
    return answered ? answer : undefined;
  }

  /** Waits until the slot is DONE. False when the access was given up. */
  #waitFor(words: Int32Array, state: number): boolean {
    const { serve, stopping, timeoutMs = TIMEOUT_MS } = this.#options;
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const seen = this.#own.bell(); // before looking at what it may stand for
      if (Atomics.load(words, state) === DONE) return true; // pairs with the store in PeerServer.serve
      serve();
      const left = deadline - performance.now();
      const givesUp = left <= 0 || stopping();
      // pairs with the exchange in PeerServer.#take
      if (givesUp && Atomics.compareExchange(words, state, POSTED, ABANDONED) === POSTED) return false;
      // woken by PeerServer.serve, closePeerBox, accesses to our own registers, and stop: all ring
      this.#own.wait(seen, givesUp ? timeoutMs : left);
    }
  }
}

interface Cycle {
  readonly isWrite: 0 | 1;
  readonly at: number;
  readonly size: number;
  readonly value: Halves;
}

/** What a function does with an access of another one. */
export interface PeerHandler {
  /** Whether [at, at + size) of the BAR answers now: it is there and decodes. */
  answers(bar: number, at: number, size: number): boolean;
  read(bar: number, at: number, size: number): Halves;
  write(bar: number, at: number, size: number, lo: number, hi: number): void;
}

/** A function as the one that is asked, on the thread that owns the registers. */
export class PeerServer {
  readonly #words: Int32Array;
  readonly #bells: readonly (SharedArrayBuffer | undefined)[];

  /** `bells`: the mailboxes of the functions of the bus, by PCI slot. */
  constructor(box: SharedArrayBuffer, bells: readonly (SharedArrayBuffer | undefined)[]) {
    this.#words = new Int32Array(box);
    this.#bells = bells;
  }

  /** Serves all posted accesses. Call it after a ring of this function's bell. */
  serve(handler: PeerHandler): void {
    const words = this.#words;
    let posted = Atomics.exchange(words, Box.word.posted, 0); // pairs with the or in PeerRequester
    while (posted !== 0) {
      const number = 31 - Math.clz32(posted);
      posted &= ~(1 << number);
      const base = slotBase(number);
      if (!this.#take(base)) continue;
      this.#handle(base, handler);
      Atomics.store(words, base + Slot.word.state, DONE); // pairs with the load in #waitFor
      const bell = this.#bells[number];
      if (bell) ringBell(bell);
    }
  }

  /** Takes the access of a slot. False when it was given up. */
  #take(base: number): boolean {
    const words = this.#words;
    const state = base + Slot.word.state;
    // pairs with the store and the exchange in PeerRequester
    const before = Atomics.compareExchange(words, state, POSTED, SERVING);
    if (before === ABANDONED) Atomics.store(words, state, FREE);
    return before === POSTED;
  }

  #handle(base: number, handler: PeerHandler): void {
    const words = this.#words;
    const bar = words[base + Slot.word.bar]!;
    const at = words[base + Slot.word.at]! >>> 0;
    const size = words[base + Slot.word.size]!;
    const answers = handler.answers(bar, at, size);
    words[base + Slot.word.answered] = answers ? 1 : 0;
    if (!answers) return;
    if (words[base + Slot.word.isWrite] === 1) {
      handler.write(bar, at, size, words[base + Slot.word.lo]! >>> 0, words[base + Slot.word.hi]! >>> 0);
      return;
    }
    const { lo, hi } = handler.read(bar, at, size);
    words[base + Slot.word.lo] = lo;
    words[base + Slot.word.hi] = hi;
  }
}
