/**
 * The interrupt page: one page of shared memory between a thread of a client and the worker of a
 * device, as the posted-interrupt descriptor is on a machine with hardware. While the thread runs,
 * the worker posts the device's messages here (MSI or MSI-X), and the thread takes them without a
 * system call. If the thread sleeps on the page, the worker posts and wakes it. Else each message
 * signals its eventfd (SET_IRQS), as without a page.
 *
 * No interrupt is lost or comes twice between these ways. The worker looks at `thread` again after
 * it has posted: if the thread has fallen asleep meanwhile, the worker wakes it; if it has gone
 * away, the worker takes the interrupt back and signals the eventfd, unless the thread has taken
 * it. When the page goes (the client's exec or death, SET_IRQS), the kernel signals what lies there
 * (iommu/kernel/vfio/pci/msi.ts).
 */
import { PAGE_SIZE } from '../../platform/page.ts';
import { atomic32, atomic32s, bytes, defineShared, int32s, type SharedPart } from '../../platform/shared.ts';

/** As many as a device's MSI-X has (devices/kit/msix.ts). Later vectors are never posted. */
export const PAGE_VECTORS = 128;
const POSTED_WORDS = PAGE_VECTORS / 32;

export const InterruptPage = defineShared('interrupt page', {
  /**
   * What the client's thread does. It writes the word and looks at `posted` once more. The worker
   * turns SLEEPS into RUNS, and wakes the thread.
   */
  thread: atomic32,
  pad0: bytes(60),
  posted: atomic32s(POSTED_WORDS), // a bit for each vector: worker sets it; client and worker clear it
  pad1: bytes(64 - 4 * POSTED_WORDS),
  counts: atomic32s(PAGE_VECTORS), // worker adds; client, worker and kernel take. Before the bit in `posted`
  pad2: bytes(PAGE_SIZE - 128 - 4 * PAGE_VECTORS),
});

/** In `thread`: it looks at no page. */
export const AWAY = 0;
/** It will look at `posted` soon. */
export const RUNS = 1;
/** It sleeps on `thread` by futex(2), or is about to. */
export const SLEEPS = 2;

/** The client's side: one thread of it. */
export class InterruptPageClient {
  readonly #words: Int32Array;

  constructor(page: SharedPart) {
    this.#words = int32s(page);
  }

  /** Interrupts may be posted from here on: the thread looks at them now and then. */
  begin(): void {
    Atomics.store(this.#words, InterruptPage.word.thread, RUNS);
  }

  /**
   * Interrupts wake the thread from here on. If the next take() gets none, the thread may sleep
   * until `thread` is not SLEEPS any more.
   */
  sleep(): void {
    Atomics.store(this.#words, InterruptPage.word.thread, SLEEPS); // pairs with the second look in postInterrupt
  }

  /** Interrupts signal eventfds from here on. The next take() gets the last that were posted. */
  end(): void {
    Atomics.store(this.#words, InterruptPage.word.thread, AWAY); // pairs with the second look in postInterrupt
  }

  /** Takes what is posted: `deliver` gets each vector, and how often. False: there was nothing. */
  // HOT: a load for each 32 vectors where nothing is posted
  take(deliver: (vector: number, count: number) => void): boolean {
    let taken = false;
    for (let word = 0; word < POSTED_WORDS; word++) {
      if (Atomics.load(this.#words, InterruptPage.word.posted + word) === 0) continue;
      taken = true;
      this.#takeWord(word, deliver);
    }
    return taken;
  }

  #takeWord(word: number, deliver: (vector: number, count: number) => void): void {
    const words = this.#words;
    const { posted, counts } = InterruptPage.word;
    // pairs with the `or` in postInterrupt
    for (let bits = Atomics.exchange(words, posted + word, 0); bits !== 0; bits &= bits - 1) {
      const vector = 32 * word + 31 - Math.clz32(bits & -bits);
      const count = Atomics.exchange(words, counts + vector, 0);
      if (count !== 0) deliver(vector, count);
    }
  }
}
