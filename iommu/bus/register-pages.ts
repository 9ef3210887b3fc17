/**
 * The register pages of a function (iommu/abi/register-page.ts): which pages there are, and what
 * may pass there. The kernel writes this table, and the function's worker obeys it. A page is
 * taken away as a mapping of the BARs is: the kernel closes its entry and then makes any other
 * access of the function. When that has returned, the worker has made what was posted, and touches
 * the page no more.
 */
import type { WaitedWord } from '../../platform/libc/futex.ts';
import type { MailboxHandler } from '../../platform/mailbox.ts';
import { PAGE_SIZE } from '../../platform/page.ts';
import { atomic32, bytes, defineShared, type SharedPart } from '../../platform/shared.ts';
import { type Attentive, AWAY, RINGS } from '../abi/bell.ts';
import {
  ABANDONED,
  barOf,
  DONE,
  FREE,
  NR_BARS,
  POSTED,
  QUEUE,
  RegisterPage,
  SERVING,
  STORE_WORDS,
  sizeOf,
} from '../abi/register-page.ts';

/** Pages of one function. Another client makes its accesses by the kernel. */
const NR_REGISTER_PAGES = 8;

const Table = defineShared('register pages', {
  used: atomic32, // kernel: how many entries are not CLOSED
  pad: bytes(60),
});

const Entry = defineShared('register page entry', {
  state: atomic32, // kernel; publishes the other fields
  life: atomic32, // kernel: counts the openings
  page: atomic32, // kernel: number of the page in the arena
  bars: atomic32, // kernel: bit n for BAR n
  pad: bytes(48),
});

const CLOSED = 0;
const OPEN = 1;
/** What is posted is made, and no more is taken. */
const CLOSING = 2;

const entryBase = (entry: number): number => (Table.size + entry * Entry.size) / 4;

export function createRegisterPages(entries = NR_REGISTER_PAGES): SharedArrayBuffer {
  return new SharedArrayBuffer(Table.size + entries * Entry.size);
}

const nrEntries = (table: SharedArrayBuffer): number => (table.byteLength - Table.size) / Entry.size;

/** What passes by a page. */
export interface Reach {
  /** Bytes of each BAR that is reached, 0 for another one. */
  readonly sizes: readonly number[];
  /** Bytes of the widest access. */
  readonly widest: 4 | 8;
}

/** The kernel's side. */
export class RegisterPageTable {
  readonly #words: Int32Array;
  readonly #entries: number;

  constructor(table: SharedArrayBuffer) {
    this.#words = new Int32Array(table);
    this.#entries = nrEntries(table);
  }

  /** The number of a free entry, which is the caller's until free(). Undefined: there is none. */
  take(part: SharedPart, { sizes, widest }: Reach): number | undefined {
    const words = this.#words;
    for (let entry = 0; entry < this.#entries; entry++) {
      const base = entryBase(entry);
      if (words[base + Entry.word.page] !== 0) continue;
      const page = new Int32Array(part.buffer, part.offset, PAGE_SIZE / 4);
      page.set(sizes, RegisterPage.word.sizes);
      page[RegisterPage.word.widest] = widest;
      words[base + Entry.word.page] = part.offset / PAGE_SIZE + 1;
      words[base + Entry.word.bars] = sizes.reduce((bars, size, bar) => (size > 0 ? bars | (1 << bar) : bars), 0);
      return entry;
    }
    return undefined;
  }

  /** From the worker's next look on, accesses pass by this entry's page. */
  open(entry: number): void {
    const base = entryBase(entry);
    this.#words[base + Entry.word.life]!++;
    this.#set(entry, OPEN);
  }

  /** Takes the page away, once the kernel has made another access of the function. */
  beginClose(entry: number): void {
    this.#set(entry, CLOSING);
  }

  /** That access has returned. */
  endClose(entry: number): void {
    this.#set(entry, CLOSED);
  }

  /** Gives the entry back. */
  free(entry: number): void {
    this.#words[entryBase(entry) + Entry.word.page] = 0;
  }

  #set(entry: number, state: number): void {
    const words = this.#words;
    const before = Atomics.exchange(words, entryBase(entry) + Entry.word.state, state); // pairs with the load in #look
    if (before === CLOSED && state !== CLOSED) Atomics.add(words, Table.word.used, 1);
    if (before !== CLOSED && state === CLOSED) Atomics.sub(words, Table.word.used, 1);
  }
}

/** The side of the function's worker. // HOT: one load where no page is open */
export class RegisterPageServer {
  readonly #table: Int32Array;
  readonly #pages: Int32Array;
  /** The pages that the worker may touch: the index of the first word, by entry; −1 for none. */
  readonly #bases: Int32Array;
  /** The life of each entry that is in #bases. */
  readonly #lives: Int32Array;
  #attentive: Attentive = AWAY;

  /** `arena`: where the pages are. */
  constructor(table: SharedArrayBuffer, arena: SharedArrayBuffer) {
    this.#table = new Int32Array(table);
    this.#pages = new Int32Array(arena);
    this.#bases = new Int32Array(nrEntries(table)).fill(-1);
    this.#lives = new Int32Array(nrEntries(table));
  }

  /** Whether there is a page to look at. */
  any(): boolean {
    return Atomics.load(this.#table, Table.word.used) !== 0;
  }

  /**
   * Makes what is posted in all pages. True if there was something. It may be called again in the
   * middle of an access that it makes.
   */
  serve(handler: MailboxHandler): boolean {
    if (!this.any()) return false;
    let served = this.makeStores(handler);
    for (let entry = 0; entry < this.#bases.length; entry++) if (this.#load(entry, handler)) served = true;
    return served;
  }

  /** Makes the stores that are posted. True if there was one. */
  makeStores(handler: MailboxHandler): boolean {
    if (!this.any()) return false;
    let made = false;
    for (let entry = 0; entry < this.#bases.length; entry++) {
      const isOpen = this.#look(entry);
      if (!isOpen) this.#setAttentive(entry, AWAY);
      if (this.#makeStores(entry, handler)) made = true;
      if (!isOpen) this.#bases[entry] = -1;
    }
    return made;
  }

  /**
   * Says in all pages how the worker looks at them. After AWAY it must serve once more: a store may
   * have been posted before the client could see that.
   */
  setAttentive(value: Attentive): void {
    if (value === this.#attentive) return;
    this.#attentive = value;
    for (let entry = 0; entry < this.#bases.length; entry++) this.#setAttentive(entry, value);
  }

  /**
   * Says in all pages that the worker sleeps. It must serve once more, and then sleep until one of
   * the bells changes; they are returned.
   */
  fallAsleep(): readonly WaitedWord[] {
    const bells: WaitedWord[] = [];
    const words = this.#pages;
    for (const base of this.#bases) {
      if (base < 0) continue;
      const index = base + RegisterPage.word.bell;
      // before the last look; pairs with the add in Bell.ring
      bells.push({ words, index, shared: true, seen: Atomics.load(words, index) });
    }
    this.#attentive = AWAY; // a client that rings changes the word, so it is stored each time
    this.setAttentive(RINGS);
    return bells;
  }

  /** Whether one of the bells has rung since, and that from CPU `cpu`. */
  rangFrom(cpu: number, bells: readonly WaitedWord[]): boolean {
    const { bell, cpu: rangOn } = RegisterPage.word;
    for (const { words, index, seen } of bells) {
      // pairs with the add in Bell.ring
      if (Atomics.load(words, index) !== seen && words[index - bell + rangOn] === cpu) return true;
    }
    return false;
  }

  #setAttentive(entry: number, value: Attentive): void {
    const base = this.#bases[entry]!;
    // pairs with the load and the exchange in Bell.ring
    if (base >= 0) Atomics.store(this.#pages, base + RegisterPage.word.attentive, value);
  }

  /**
   * Takes in what the kernel says of an entry; whether it is open. The first look at an opened page
   * drops what was posted while it was closed: the BARs did not answer then. A load that was under
   * way when it closed is over, too.
   */
  #look(entry: number): boolean {
    const words = this.#table;
    const at = entryBase(entry);
    // pairs with the exchange in RegisterPageTable.#set
    if (Atomics.load(words, at + Entry.word.state) !== OPEN) return false;
    const life = words[at + Entry.word.life]!;
    if (this.#bases[entry]! >= 0 && this.#lives[entry] === life) return true;
    const base = ((words[at + Entry.word.page]! - 1) * PAGE_SIZE) / 4;
    const { consumed, produced } = RegisterPage.word;
    Atomics.store(this.#pages, base + consumed, Atomics.load(this.#pages, base + produced));
    this.#exchange(base, SERVING, FREE); // first: the client makes ABANDONED of it
    this.#exchange(base, ABANDONED, FREE);
    this.#lives[entry] = life;
    this.#bases[entry] = base;
    this.#setAttentive(entry, this.#attentive);
    return true;
  }

  #makeStores(entry: number, handler: MailboxHandler): boolean {
    const words = this.#pages;
    const { consumed, produced, queue } = RegisterPage.word;
    let done = 0;
    for (; done < QUEUE; done++) {
      const base = this.#bases[entry]!; // each time: the page may go in the middle of an access
      if (base < 0) break;
      const number = words[base + consumed]!;
      // pairs with the store in RegisterPageClient.store
      if (Atomics.load(words, base + produced) === number) break;
      const store = base + queue + ((number >>> 0) % QUEUE) * STORE_WORDS;
      const what = words[store]!;
      const at = words[store + 1]! >>> 0;
      const lo = words[store + 2]! >>> 0;
      const hi = words[store + 3]! >>> 0;
      Atomics.store(words, base + consumed, number + 1); // pairs with the load in RegisterPageClient.store
      if (this.#allows(entry, what, at)) handler.write(barOf(what), at, sizeOf(what), lo, hi);
    }
    return done > 0;
  }

  #load(entry: number, handler: MailboxHandler): boolean {
    const base = this.#bases[entry]!;
    if (base < 0) return false;
    const words = this.#pages;
    if (Atomics.load(words, base + RegisterPage.word.state) !== POSTED) return false;
    // pairs with the store and the first exchange in RegisterPageClient.load
    if (!this.#exchange(base, POSTED, SERVING)) return false;
    const life = this.#lives[entry]!;
    // A client that gives up leaves both words alone until the page is FREE.
    const what = Atomics.load(words, base + RegisterPage.word.what);
    const at = Atomics.load(words, base + RegisterPage.word.at) >>> 0;
    this.makeStores(handler); // those that came before the load
    const allowed = this.#isThere(entry, base, life) && this.#allows(entry, what, at);
    const value = allowed ? handler.read(barOf(what), at, sizeOf(what)) : undefined;
    if (!this.#isThere(entry, base, life)) return true; // the page has gone meanwhile
    words[base + RegisterPage.word.lo] = value ? value.lo : -1;
    words[base + RegisterPage.word.hi] = value ? value.hi : -1;
    // pairs with the second exchange in RegisterPageClient.load
    if (!this.#exchange(base, SERVING, DONE)) this.#exchange(base, ABANDONED, FREE);
    return true;
  }

  /** Whether it is the page of that life. An access may have taken it away, and given it back. */
  #isThere(entry: number, base: number, life: number): boolean {
    return this.#bases[entry] === base && this.#lives[entry] === life;
  }

  /** Makes `to` of the state if it is `from`. */
  #exchange(base: number, from: number, to: number): boolean {
    return Atomics.compareExchange(this.#pages, base + RegisterPage.word.state, from, to) === from;
  }

  /** Whether the kernel lets this access pass by the page. */
  #allows(entry: number, what: number, at: number): boolean {
    const bars = this.#table[entryBase(entry) + Entry.word.bars]!;
    const size = sizeOf(what);
    if (size !== 1 && size !== 2 && size !== 4 && size !== 8) return false;
    return barOf(what) < NR_BARS && ((bars >>> barOf(what)) & 1) === 1 && at % size === 0;
  }
}
