/**
 * The DMA port of one device. It cuts a transfer into transactions and moves the bytes. A
 * transaction is in one contiguous run of bytes behind translated pages, and has at most 64 KiB. To
 * registers it is one access. A fence waits for transactions (epoch.ts).
 */
import { PAGE_SIZE } from '../../platform/page.ts';
import { PortCounters } from '../bus/counters.ts';
import type { Dma } from '../bus/dma.ts';
import type { Iotlb } from './iotlb.ts';
import { TO_INTERRUPT_FILE } from './msi.ts';
import { Translator, type TranslatorOptions } from './translator.ts';

const PAGES_52 = 2 ** 52;
/** Up to this size a loop over elements of 64 bits beats TypedArray.set on shared memory. */
const LOOP_BYTES = 128;

const UNSUPPORTED = PortCounters.word64.unsupported;
const TRANSACTIONS = PortCounters.word64.transactions;
const BYTES_READ = PortCounters.word64.bytesRead;
const BYTES_WRITTEN = PortCounters.word64.bytesWritten;

export type DmaPortOptions = TranslatorOptions;

export class DmaPort implements Dma {
  readonly #translator: Translator;
  readonly #iotlb: Iotlb;
  readonly #counters: Float64Array;

  // The array of the last small transfer. A view of it is made once it has come twice, because
  // devices use the same array again and again.
  #staging: Uint8Array | undefined;
  #stagingLongs: BigInt64Array | undefined;

  constructor(options: DmaPortOptions) {
    this.#translator = new Translator(options);
    this.#iotlb = this.#translator.iotlb;
    this.#counters = new Float64Array(options.counters);
  }

  // HOT (npm run bench: as write; begins by hand: V8 no longer inlines #beginRead and #beginWrite
  // here)
  read(vpn: number, offset: number, dst: Uint8Array): number {
    const { length } = dst;
    if (offset + length > PAGE_SIZE) return this.#readPages(vpn, offset, dst);
    this.#translator.begin();
    this.#counters[TRANSACTIONS]! += 1;
    let entry = this.#iotlb.lookupRead(vpn);
    if (entry < 0) {
      entry = this.#translator.miss(vpn, offset, false);
      if (entry < 0) return entry === TO_INTERRUPT_FILE ? this.#readFile(offset, dst) : 0;
    }
    const range = this.#iotlb.range(entry);
    const page = this.#iotlb.page(entry, vpn);
    if (length <= LOOP_BYTES && ((offset | length) & 7) === 0 && range.isRam && this.#hasLongs(dst)) {
      copyLongs(range.longs, page * 512 + (offset >>> 3), this.#stagingLongs!, 0, length >>> 3);
    } else if (length > range.room(offset)) {
      this.#counters[TRANSACTIONS]! -= 1; // it begins anew
      return this.#readPages(vpn, offset, dst);
    } else if (!range.read(page * PAGE_SIZE + offset, dst)) return this.#unanswered(0);
    this.#counters[BYTES_READ]! += length;
    return length;
  }

  // HOT (npm run bench: ratio to a plain set on the same shared memory, by size)
  write(vpn: number, offset: number, src: Uint8Array): number {
    const { length } = src;
    if (offset + length > PAGE_SIZE) return this.#writePages(vpn, offset, src);
    this.#translator.begin();
    this.#counters[TRANSACTIONS]! += 1;
    let entry = this.#iotlb.lookupWrite(vpn);
    if (entry < 0) {
      entry = this.#translator.miss(vpn, offset, true);
      if (entry < 0) return entry === TO_INTERRUPT_FILE ? this.#writeFile(vpn, offset, src) : 0;
    }
    const range = this.#iotlb.range(entry);
    const page = this.#iotlb.page(entry, vpn);
    if (length <= LOOP_BYTES && ((offset | length) & 7) === 0 && range.isRam && this.#hasLongs(src)) {
      copyLongs(this.#stagingLongs!, 0, range.longs, page * 512 + (offset >>> 3), length >>> 3);
    } else if (length > range.room(offset)) {
      this.#counters[TRANSACTIONS]! -= 1; // it begins anew
      return this.#writePages(vpn, offset, src);
    } else if (!range.write(page * PAGE_SIZE + offset, src)) return this.#unanswered(0);
    this.#counters[BYTES_WRITTEN]! += length;
    return length;
  }

  write32(vpn: number, offset: number, value: number): boolean {
    if (offset % 4 !== 0) throw new RangeError('write32 at an offset that is no multiple of 4');
    const entry = this.#beginWrite(vpn, offset);
    if (entry < 0) return entry === TO_INTERRUPT_FILE && this.#storeMessage(vpn, offset, value);
    const at = this.#iotlb.page(entry, vpn) * PAGE_SIZE + offset;
    if (!this.#iotlb.range(entry).write32(at, value)) {
      this.#unanswered(0);
      return false;
    }
    this.#counters[BYTES_WRITTEN]! += 4;
    return true;
  }

  idle(): void {
    this.#translator.end();
  }

  /**
   * Runs `serve` in the middle of a transaction: while the device waits for another one, it serves
   * its own registers, and these may raise an interrupt. The transactions that `serve` makes are
   * part of the one around it.
   */
  inside(serve: () => void): void {
    this.#translator.hold(true);
    try {
      serve();
    } finally {
      this.#translator.hold(false);
    }
  }

  /**
   * Counts an access that the IOMMU let through and nothing answered. That is an Unsupported
   * Request and no fault of the IOMMU (P2P-7). `done` bytes went before.
   */
  #unanswered(done: number): number {
    this.#counters[UNSUPPORTED]! += 1;
    return done;
  }

  /**
   * Accesses to the page of an interrupt file in memory (AIA §8.5.2): aligned ones of 32 bits, a
   * read gives 0. All others are Unsupported Requests.
   */
  #readFile(offset: number, dst: Uint8Array): number {
    if (dst.length !== 4 || offset % 4 !== 0) return this.#unanswered(0);
    dst.fill(0);
    this.#counters[BYTES_READ]! += 4;
    return 4;
  }

  #writeFile(vpn: number, offset: number, src: Uint8Array): number {
    if (src.length !== 4 || offset % 4 !== 0) return this.#unanswered(0);
    const value = src[0]! | (src[1]! << 8) | (src[2]! << 16) | (src[3]! << 24);
    return this.#storeMessage(vpn, offset, value) ? 4 : 0;
  }

  #storeMessage(vpn: number, offset: number, value: number): boolean {
    if (!this.#translator.storeMessage(vpn, offset, value)) return false;
    this.#counters[BYTES_WRITTEN]! += 4;
    return true;
  }

  /**
   * Begins a transaction. Returns the IOTLB entry of its first page, or a negative number when
   * there is none: it is refused, or TO_INTERRUPT_FILE.
   */
  // HOT
  #beginRead(vpn: number, offset: number): number {
    this.#translator.begin();
    this.#counters[TRANSACTIONS]! += 1;
    const entry = this.#iotlb.lookupRead(vpn);
    return entry >= 0 ? entry : this.#translator.miss(vpn, offset, false);
  }

  // HOT
  #beginWrite(vpn: number, offset: number): number {
    this.#translator.begin();
    this.#counters[TRANSACTIONS]! += 1;
    const entry = this.#iotlb.lookupWrite(vpn);
    return entry >= 0 ? entry : this.#translator.miss(vpn, offset, true);
  }

  // HOT (transfers over several pages)
  #readPages(vpn: number, offset: number, dst: Uint8Array): number {
    const { length } = dst;
    let page = vpn;
    let at = offset;
    let done = 0;
    while (done < length) {
      const entry = this.#beginRead(page, at);
      if (entry < 0) return entry === TO_INTERRUPT_FILE ? this.#unanswered(done) : done;
      const bytes = this.#chunk(entry, page, at, length - done, false);
      const from = this.#iotlb.page(entry, page) * PAGE_SIZE + at;
      const part = bytes === length ? dst : dst.subarray(done, done + bytes);
      if (!this.#iotlb.range(entry).read(from, part)) return this.#unanswered(done);
      this.#counters[BYTES_READ]! += bytes;
      done += bytes;
      page = nextPage(page, at + bytes);
      at = (at + bytes) & (PAGE_SIZE - 1);
    }
    return done;
  }

  // HOT (transfers over several pages)
  #writePages(vpn: number, offset: number, src: Uint8Array): number {
    const { length } = src;
    let page = vpn;
    let at = offset;
    let done = 0;
    while (done < length) {
      const entry = this.#beginWrite(page, at);
      if (entry < 0) return entry === TO_INTERRUPT_FILE ? this.#unanswered(done) : done;
      const bytes = this.#chunk(entry, page, at, length - done, true);
      const to = this.#iotlb.page(entry, page) * PAGE_SIZE + at;
      const part = bytes === length ? src : src.subarray(done, done + bytes);
      if (!this.#iotlb.range(entry).write(to, part)) return this.#unanswered(done);
      this.#counters[BYTES_WRITTEN]! += bytes;
      done += bytes;
      page = nextPage(page, at + bytes);
      at = (at + bytes) & (PAGE_SIZE - 1);
    }
    return done;
  }

  /**
   * Bytes of the transaction that begins in `entry`. The transaction goes on while the next pages
   * are cached and adjacent in the range.
   */
  #chunk(entry: number, vpn: number, offset: number, left: number, write: boolean): number {
    const iotlb = this.#iotlb;
    const range = iotlb.range(entry);
    const want = Math.min(left, range.room(offset));
    const page = iotlb.page(entry, vpn);
    let pages = iotlb.pagesFrom(entry, vpn);
    while (pages * PAGE_SIZE - offset < want) {
      const next = write ? iotlb.lookupWrite(vpn + pages) : iotlb.lookupRead(vpn + pages);
      if (next < 0 || iotlb.range(next) !== range || iotlb.page(next, vpn + pages) !== page + pages) break;
      pages += iotlb.pagesFrom(next, vpn + pages);
    }
    return Math.min(want, pages * PAGE_SIZE - offset);
  }

  /** Whether #stagingLongs is a view of `staging`: it is aligned and was here just before. */
  #hasLongs(staging: Uint8Array): boolean {
    if (staging === this.#staging) return this.#stagingLongs !== undefined || this.#makeLongs(staging);
    this.#staging = staging;
    this.#stagingLongs = undefined;
    return false;
  }

  #makeLongs(staging: Uint8Array): boolean {
    if (staging.byteOffset % 8 !== 0) return false;
    this.#stagingLongs = new BigInt64Array(staging.buffer, staging.byteOffset, staging.length >>> 3);
    return true;
  }
}

/** Page of the byte that is `offset` bytes after the start of `page`; addresses wrap at 2^64. */
function nextPage(page: number, offset: number): number {
  const next = page + (offset >>> 12);
  return next < PAGES_52 ? next : next - PAGES_52;
}

/**
 * Copies elements of 64 bits, at half the cost of 32-bit ones and 0.4 of a `set` for 64 bytes.
 * Optimised code moves them in registers and makes no bigint. Float64Array would cost the same but
 * may change the bits of a NaN.
 */
// HOT
function copyLongs(source: BigInt64Array, sourceAt: number, target: BigInt64Array, targetAt: number, n: number): void {
  for (let i = 0; i < n; i++) target[targetAt + i] = source[sourceAt + i]!;
}
