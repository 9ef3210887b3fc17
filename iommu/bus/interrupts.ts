/**
 * The two ways in which an interrupt leaves a device, as tables in shared memory. The kernel writes
 * the tables, and the device workers read them. Both ways end in an eventfd of a client, by a
 * source of platform/eventfd-source.ts. So no client can make the signalling thread wait.
 */
import { EventfdSources, type Signals, SOURCES_BYTES } from '../../platform/eventfd-source.ts';
import { futexWake } from '../../platform/libc/futex.ts';
import { PAGE_SIZE } from '../../platform/page.ts';
import { atomic32, atomic32s, bytes, defineShared, type SharedPart } from '../../platform/shared.ts';
import { PAGE_VECTORS } from '../abi/interrupt-page.ts';
import { postInterrupt, type WakeWord } from './posted-interrupts.ts';

/** Vectors of the doorbell page: the data of an MSI store selects one. */
export const NR_VECTORS = 2048;

const Doorbell = defineShared('doorbell table', {
  source: atomic32s(NR_VECTORS), // written by the kernel: number of an eventfd source, NONE or HELD
  raised: atomic32s(NR_VECTORS), // added to by the device workers: stores that signalled an eventfd
  dropped: atomic32s(NR_VECTORS), // added to by the device workers: stores that found none
  stray: atomic32, // added to by the device workers: data out of range
  // added to by the device workers while HELD is in force, taken by the kernel: it outlives kernels
  pending: atomic32s(NR_VECTORS),
  page: atomic32s(NR_VECTORS), // written by the kernel: where the vector is posted (pageWord), or 0
});

const NONE = -1;

/** A vector of an interrupt page, in one word. `part` is a page of the board's arena. */
const pageWord = ({ offset }: SharedPart, vector: number): number => (offset / PAGE_SIZE + 1) * PAGE_VECTORS + vector;
const baseOf = (page: number): number => ((Math.floor(page / PAGE_VECTORS) - 1) * PAGE_SIZE) / 4;
/** No eventfd now, and its interrupts pend until there is one. */
export const HELD = -2;

/** The doorbell's table, and behind it the board's eventfd sources. */
export function createDoorbellTable(): SharedArrayBuffer {
  const interrupts = new SharedArrayBuffer(Doorbell.size + SOURCES_BYTES);
  new Int32Array(interrupts).fill(NONE, Doorbell.word.source, Doorbell.word.source + NR_VECTORS);
  return interrupts;
}

/** This thread's view of the sources behind a doorbell's table; the kernel's thread owns them. */
export function eventfdSources(interrupts: SharedArrayBuffer): EventfdSources {
  return new EventfdSources(interrupts, Doorbell.size);
}

/**
 * The table behind the doorbell page. An MSI store is a DMA transaction. So a source may be closed
 * once its entry is cleared and an IOFENCE.C has returned: no worker can then be between the load
 * of the entry and the signal.
 */
export class DoorbellTable {
  readonly #words: Int32Array;
  readonly #sources: Signals;
  readonly #pages: Int32Array | undefined;
  readonly #wake: WakeWord;

  /** `arena`: where the interrupt pages are. A thread without it signals eventfds only. */
  constructor(interrupts: SharedArrayBuffer, arena?: SharedArrayBuffer) {
    this.#words = new Int32Array(interrupts);
    this.#sources = eventfdSources(interrupts);
    const words = arena && new Int32Array(arena);
    this.#pages = words;
    this.#wake = (index) => futexWake({ words: words!, index, shared: true });
  }

  /**
   * Kernel: posts `vector` as number `n` of an interrupt page while a client's thread looks at it.
   * Undefined: no more. After that comes a fence, and then whatever lies in the page is signalled.
   * A number that the page does not have signals as ever.
   */
  setPage(vector: number, page: SharedPart | undefined, n: number): void {
    // pairs with the load in ring
    Atomics.store(this.#words, Doorbell.word.page + vector, page && n < PAGE_VECTORS ? pageWord(page, n) : 0);
  }

  /**
   * Kernel: routes `vector` to an eventfd source, to nothing (−1), or nowhere yet (HELD). After
   * HELD comes a fence, and then deliverPending().
   */
  setSource(vector: number, source: number): void {
    if (!(vector >= 0 && vector < NR_VECTORS)) throw new RangeError(`no vector ${vector}`);
    // with what open() wrote; pairs with the load in ring
    Atomics.store(this.#words, Doorbell.word.source + vector, source);
  }

  /** Device worker, inside a transaction: a store of `data` arrived at the doorbell page. */
  ring(data: number): void {
    if (!(data >= 0 && data < NR_VECTORS)) {
      Atomics.add(this.#words, Doorbell.word.stray, 1);
      return;
    }
    const signals = this.#post(data);
    // pairs with the store in setSource
    const source = Atomics.load(this.#words, Doorbell.word.source + data);
    if (signals > 0 && source === HELD) {
      Atomics.add(this.#words, Doorbell.word.pending + data, 1); // pairs with the exchange in deliverPending
      return;
    }
    if (signals > 0 && source === NONE) {
      Atomics.add(this.#words, Doorbell.word.dropped + data, 1);
      return;
    }
    for (let i = 0; i < signals; i++) this.#sources.signal(source);
    Atomics.add(this.#words, Doorbell.word.raised + data, 1);
  }

  /** Posts an interrupt. Returns how often the source must be signalled instead. */
  #post(vector: number): number {
    const page = Atomics.load(this.#words, Doorbell.word.page + vector); // pairs with the store in setPage
    if (page === 0 || !this.#pages) return 1;
    return postInterrupt(this.#pages, baseOf(page), page % PAGE_VECTORS, this.#wake);
  }

  /**
   * Kernel: `count` interrupts were posted, and nobody will take them: they pend, as those that
   * come while the vector is HELD.
   */
  hold(vector: number, count: number): void {
    Atomics.add(this.#words, Doorbell.word.pending + vector, count);
    Atomics.sub(this.#words, Doorbell.word.raised + vector, count); // they are raised when they are delivered
  }

  /**
   * Kernel: signals the vector's source once for each interrupt that came while it was HELD. A
   * fence has passed since the source was set, so no worker still takes the vector for HELD.
   */
  deliverPending(vector: number): void {
    const source = Atomics.load(this.#words, Doorbell.word.source + vector);
    if (source < 0) return;
    // pairs with the addition in ring
    const pending = Atomics.exchange(this.#words, Doorbell.word.pending + vector, 0);
    for (let i = 0; i < pending; i++) this.#sources.signal(source);
    Atomics.add(this.#words, Doorbell.word.raised + vector, pending);
  }

  /** Interrupts that pend because the vector is HELD. */
  pending(vector: number): number {
    return Atomics.load(this.#words, Doorbell.word.pending + vector) >>> 0;
  }

  /** Kernel: forgets what pends, with the vector's end. */
  dropPending(vector: number): void {
    Atomics.store(this.#words, Doorbell.word.pending + vector, 0);
  }

  raised(vector: number): number {
    return Atomics.load(this.#words, Doorbell.word.raised + vector) >>> 0;
  }

  dropped(vector: number): number {
    return Atomics.load(this.#words, Doorbell.word.dropped + vector) >>> 0;
  }

  /** Stores with data that is no vector. */
  stray(): number {
    return Atomics.load(this.#words, Doorbell.word.stray) >>> 0;
  }
}

const Line = defineShared('intx line', {
  level: atomic32, // device worker: 1 while the device asserts INTA
  signalling: atomic32, // device worker: 1 while it may be using a source it has loaded
  raised: atomic32, // both add to it: times the eventfd was signalled
  pad0: bytes(52),
  masked: atomic32, // both: 0 → 1 by the thread that delivers (automask), 1 → 0 by the kernel
  source: atomic32, // kernel: number of an eventfd source, or −1
});

/** How long setSource waits for a device worker that is signalling, which takes 2 µs. */
const QUIET_MS = 1000;

export function createIntxLine(): SharedArrayBuffer {
  const intx = new SharedArrayBuffer(Line.size);
  new Int32Array(intx)[Line.word.source] = NONE;
  return intx;
}

/**
 * A level-triggered wire that ends in the interrupt handler of vfio-pci. The handler masks, then
 * signals. Unmask looks at the level again (PCI-5).
 */
export class IntxLine {
  readonly #words: Int32Array;
  readonly #sources: Signals;

  constructor(intx: SharedArrayBuffer, sources: Signals) {
    this.#words = new Int32Array(intx);
    this.#sources = sources;
  }

  /** Device worker: drives the wire up. */
  assert(): void {
    const words = this.#words;
    // pairs with the load in #deliver
    if (Atomics.exchange(words, Line.word.level, 1) === 1) return;
    Atomics.store(words, Line.word.signalling, 1); // pairs with the load in setSource
    this.#deliver();
    Atomics.store(words, Line.word.signalling, 0); // pairs with the wait in setSource
    Atomics.notify(words, Line.word.signalling);
  }

  /** Device worker: lets the wire go. */
  deassert(): void {
    Atomics.store(this.#words, Line.word.level, 0);
  }

  level(): boolean {
    return Atomics.load(this.#words, Line.word.level) === 1;
  }

  masked(): boolean {
    return Atomics.load(this.#words, Line.word.masked) === 1;
  }

  raised(): number {
    return Atomics.load(this.#words, Line.word.raised) >>> 0;
  }

  /**
   * Kernel: sets the eventfd source (−1: none). When this returns, the device worker no longer uses
   * the old source, which may then be closed. A level that is already up fires at once, unless
   * masked.
   */
  setSource(source: number): void {
    const words = this.#words;
    // with what open() wrote; pairs with the load in #deliver
    Atomics.store(words, Line.word.source, source);
    const deadline = performance.now() + QUIET_MS;
    while (Atomics.load(words, Line.word.signalling) === 1 && performance.now() < deadline) {
      Atomics.wait(words, Line.word.signalling, 1, 10); // woken by assert
    }
    this.#deliver();
  }

  /** Kernel: no delivery until unmask(). */
  mask(): void {
    Atomics.store(this.#words, Line.word.masked, 1);
  }

  /** Kernel: delivers again; a level that is still up fires at once. */
  unmask(): void {
    Atomics.store(this.#words, Line.word.masked, 0); // pairs with the exchange in #deliver
    this.#deliver();
  }

  /**
   * The interrupt handler. It masks and signals if the wire is up, there is an eventfd source, and
   * no other thread has done so.
   */
  #deliver(): void {
    const words = this.#words;
    const source = Atomics.load(words, Line.word.source); // pairs with the store in setSource
    if (source === NONE || Atomics.load(words, Line.word.level) === 0) return; // pairs with the exchange in assert
    if (Atomics.compareExchange(words, Line.word.masked, 0, 1) !== 0) return;
    this.#sources.signal(source);
    Atomics.add(words, Line.word.raised, 1);
  }
}
