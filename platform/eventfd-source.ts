/**
 * Signals eventfds of other processes as a kernel does (eventfd_signal): a signal never blocks, and
 * a count at its maximum stays there. write(2) cannot do that: it blocks on a full eventfd, and
 * O_NONBLOCK would be shared with the eventfd's other users. So Linux itself does the signalling.
 * Each eventfd is registered with an io_uring. The thread submits an empty request, and its
 * completion signals the eventfd. The ring holds the eventfd's context and not its file, so the
 * last close(2) of its users is truly the last. Where io_uring is not allowed, the completion of an
 * aio request signals the eventfd; that way needs the file.
 */
import { enomem, enospc, enosys, SysError } from './errno.ts';
import { aioPrepare, aioSignal } from './libc/aio.ts';
import { close } from './libc/fd.ts';
import {
  type IoUring,
  ioUringClose,
  ioUringRegisterEventfd,
  ioUringSetup,
  ioUringSubmit,
  ioUringUnregisterEventfd,
  ringWords,
} from './libc/io-uring.ts';
import { atomic32, atomic32s, bytes, defineShared } from './shared.ts';

/** The most sources that a board can need: vectors of its doorbell, lines, stored triggers. */
export const NR_SOURCES = 4096;

/**
 * The number of completions that a ring has room for: more than twice the number of threads that
 * can signal at once.
 */
const COMPLETIONS = 128;

/**
 * The words of each source are written by the sources' owner before it gives the source's number to
 * other threads. They do not change while other threads have the number.
 */
export const Sources = defineShared('eventfd sources', {
  sqTail: atomic32, // index of that word in the page of any ring
  cqHead: atomic32,
  cqTail: atomic32,
  pad0: bytes(52),
  fd: atomic32s(NR_SOURCES), // the ring; where vaddrHi is NO_RING, the eventfd
  vaddrLo: atomic32s(NR_SOURCES), // of the ring's page
  vaddrHi: atomic32s(NR_SOURCES),
});
export const SOURCES_BYTES = Sources.size;

export const createEventfdSources = (): SharedArrayBuffer => new SharedArrayBuffer(SOURCES_BYTES);

/** The vaddrHi of a source that signals by aio. */
export const NO_RING = -1;

/** A way to signal another party. `source` is the number of an open source. */
export interface Signals {
  signal(source: number): void;
}

/**
 * The table of sources. All threads may signal; only one thread, the owner, opens and closes
 * sources.
 */
export class EventfdSources implements Signals {
  readonly #words: Int32Array;
  /**
   * The words of each source's ring, and the ring's vaddr, once this thread has signalled that
   * source. An owner's rings stay with their sources until its dispose(); those of the next owner
   * (a kexec) lie elsewhere, and the old ones are unmapped.
   */
  readonly #rings: (Int32Array | undefined)[] = [];
  readonly #vaddrs: number[] = [];
  /** Used by the owner only: closed sources, and the first number that was never used. */
  readonly #free: number[] = [];
  #next = 0;

  readonly #limit: number;

  /**
   * Uses SOURCES_BYTES of shared memory at `offset`, which must be zero at first. At most `limit`
   * sources are open at once.
   */
  constructor(memory: SharedArrayBuffer, offset = 0, limit = NR_SOURCES) {
    this.#words = new Int32Array(memory, offset, SOURCES_BYTES / 4);
    this.#limit = limit;
  }

  /**
   * Opens a source that signals `eventfd`; for the owner only. Takes the fd, also when it throws.
   * ENOSPC: too many sources; ENOMEM: Linux gives no more rings; ENOSYS: neither io_uring nor aio
   * is allowed.
   */
  open(eventfd: number): number {
    const source = this.#free.pop() ?? this.#next;
    if (source === this.#limit) {
      close(eventfd);
      throw enospc(`more than ${this.#limit} eventfds to signal`);
    }
    if (source === this.#next) this.#next++;
    try {
      if (this.#hasRing(source) || this.#addRing(source)) {
        ioUringRegisterEventfd(this.#words[Sources.word.fd + source]!, eventfd);
        close(eventfd);
      } else {
        prepareAio();
        this.#words[Sources.word.vaddrHi + source] = NO_RING;
        this.#words[Sources.word.fd + source] = eventfd;
      }
      return source;
    } catch (error) {
      this.#free.push(source);
      close(eventfd);
      throw error;
    }
  }

  /** Closes `source`, for the owner only. No thread may signal it any more. */
  close(source: number): void {
    const fd = this.#words[Sources.word.fd + source]!;
    if (this.#hasRing(source)) ioUringUnregisterEventfd(fd);
    else close(fd);
    this.#free.push(source);
  }

  #hasRing(source: number): boolean {
    const hi = this.#words[Sources.word.vaddrHi + source]!;
    return hi !== NO_RING && (hi !== 0 || this.#words[Sources.word.vaddrLo + source] !== 0);
  }

  /** Adds a ring; false where Linux gives none. */
  #addRing(source: number): boolean {
    const ring = tryRing();
    if (!ring) return false;
    const words = this.#words;
    words[Sources.word.sqTail] = ring.sqTail;
    words[Sources.word.cqHead] = ring.cqHead;
    words[Sources.word.cqTail] = ring.cqTail;
    words[Sources.word.fd + source] = ring.fd;
    words[Sources.word.vaddrLo + source] = ring.vaddr | 0;
    words[Sources.word.vaddrHi + source] = Math.floor(ring.vaddr / 2 ** 32);
    return true;
  }

  /** Adds 1 to the count of the eventfd. */
  // HOT: 1.5 µs (bench msi)
  signal(source: number): void {
    const words = this.#words;
    const fd = words[Sources.word.fd + source]!;
    const vaddrHi = words[Sources.word.vaddrHi + source]!;
    if (vaddrHi === NO_RING) {
      aioSignal(fd);
      return;
    }
    const vaddr = vaddrHi * 2 ** 32 + (words[Sources.word.vaddrLo + source]! >>> 0);
    const known = this.#vaddrs[source] === vaddr ? this.#rings[source] : undefined;
    const ring = known ?? this.#ringOf(source, vaddr);
    const cqHead = words[Sources.word.cqHead]!;
    // Take all completions: a ring without room signals nothing. Other threads do the same, so the
    // head moves only if it is still where it was. If another thread moved it instead, at most two
    // completions of each thread are left. Linux writes the tail before it signals, and reads the
    // head when it completes a request.
    const head = Atomics.load(ring, cqHead);
    const tail = Atomics.load(ring, words[Sources.word.cqTail]!);
    if (head !== tail) Atomics.compareExchange(ring, cqHead, head, tail);
    // Every thread adds one request and submits one request. It does not matter which thread made
    // the request, as all are the same. Linux reads the tail in io_uring_enter.
    Atomics.add(ring, words[Sources.word.sqTail]!, 1);
    ioUringSubmit(fd);
  }

  #ringOf(source: number, vaddr: number): Int32Array {
    const ring = ringWords(vaddr);
    this.#rings[source] = ring;
    this.#vaddrs[source] = vaddr;
    return ring;
  }

  /**
   * Gives all rings back; for the owner only. All sources must be closed, and no thread may signal
   * any more.
   */
  dispose(): void {
    const words = this.#words;
    for (const source of this.#free.splice(0)) {
      if (!this.#hasRing(source)) continue;
      const lo = words[Sources.word.vaddrLo + source]! >>> 0;
      ioUringClose({
        fd: words[Sources.word.fd + source]!,
        vaddr: words[Sources.word.vaddrHi + source]! * 2 ** 32 + lo,
      });
      words[Sources.word.vaddrHi + source] = 0;
      words[Sources.word.vaddrLo + source] = 0;
    }
  }
}

/**
 * A new ring; undefined where io_uring is not allowed, or there are no more rings. Then aio is
 * used.
 */
function tryRing(): IoUring | undefined {
  try {
    return ioUringSetup(COMPLETIONS);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    if (error.code === 'EPERM' || error.code === 'ENOSYS' || error.code === 'ENOMEM') return undefined;
    throw enomem(`no further ring to signal an eventfd with: ${error.message}`);
  }
}

function prepareAio(): void {
  try {
    aioPrepare();
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    throw enosys(`Linux allows neither io_uring nor aio here, and eventfds are signalled by them: ${error.message}`);
  }
}
