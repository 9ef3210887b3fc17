/**
 * The DMA port of one device: cuts a transfer into transactions (at most 64 KiB, one contiguous run of bytes behind translated
 * pages) and moves the bytes. A transaction is what a fence waits for (epoch.ts).
 */
import { PortCounters } from './counters.ts';
import type { Dma } from './dma.ts';
import { type Iotlb, PERM_R, PERM_W } from './iotlb.ts';
import type { AttachedRange } from './physical.ts';
import { Translator, type TranslatorOptions } from './translator.ts';

const PAGE = 4096;
const MAX_CHUNK = 65536;
const PAGES_52 = 2 ** 52;
/** Up to here a loop over words beats TypedArray.set on shared memory. */
const LOOP_BYTES = 128;

const TRANSACTIONS = PortCounters.word64.transactions;
const BYTES_READ = PortCounters.word64.bytesRead;
const BYTES_WRITTEN = PortCounters.word64.bytesWritten;

export type DmaPortOptions = TranslatorOptions;

export class DmaPort implements Dma {
  readonly #translator: Translator;
  readonly #iotlb: Iotlb;
  readonly #counters: Float64Array;

  // The array of the last small transfer, and its words once it has come twice: devices use the same one again and again.
  #staging: Uint8Array | undefined;
  #stagingWords: Int32Array | undefined;

  constructor(options: DmaPortOptions) {
    this.#translator = new Translator(options);
    this.#iotlb = this.#translator.iotlb;
    this.#counters = new Float64Array(options.counters);
  }

  // HOT (npm run bench: as write)
  read(vpn: number, offset: number, dst: Uint8Array): number {
    const { length } = dst;
    let page = vpn;
    let at = offset;
    let done = 0;
    while (done < length) {
      const entry = this.#begin(page, at, PERM_R);
      if (entry < 0) return done;
      const bytes = this.#chunk(entry, page, at, length - done, PERM_R);
      this.#copyOut(this.#iotlb.range(entry), this.#iotlb.page(entry, page), at, dst, done, bytes);
      this.#counters[BYTES_READ]! += bytes;
      done += bytes;
      at += bytes;
      page += at >>> 12;
      at &= PAGE - 1;
      if (page >= PAGES_52) page -= PAGES_52;
    }
    return done;
  }

  // HOT (npm run bench: ratio to a plain set on the same shared memory, by size)
  write(vpn: number, offset: number, src: Uint8Array): number {
    const { length } = src;
    let page = vpn;
    let at = offset;
    let done = 0;
    while (done < length) {
      const entry = this.#begin(page, at, PERM_W);
      if (entry < 0) return done;
      const bytes = this.#chunk(entry, page, at, length - done, PERM_W);
      this.#copyIn(this.#iotlb.range(entry), this.#iotlb.page(entry, page), at, src, done, bytes);
      this.#counters[BYTES_WRITTEN]! += bytes;
      done += bytes;
      at += bytes;
      page += at >>> 12;
      at &= PAGE - 1;
      if (page >= PAGES_52) page -= PAGES_52;
    }
    return done;
  }

  write32(vpn: number, offset: number, value: number): boolean {
    if (offset % 4 !== 0) throw new RangeError('write32 at an offset that is no multiple of 4');
    const entry = this.#begin(vpn, offset, PERM_W);
    if (entry < 0) return false;
    this.#iotlb.range(entry).write32(this.#iotlb.page(entry, vpn) * PAGE + offset, value);
    this.#counters[BYTES_WRITTEN]! += 4;
    return true;
  }

  idle(): void {
    this.#translator.end();
  }

  /** A transaction begins: IOTLB entry of its first page, or −1 when it is refused. */
  // HOT
  #begin(vpn: number, offset: number, perm: number): number {
    this.#translator.begin();
    const entry = this.#translator.translate(vpn, offset, perm);
    if (entry >= 0) this.#counters[TRANSACTIONS]! += 1;
    return entry;
  }

  /** Bytes of the transaction that begins in `entry`. */
  // HOT
  #chunk(entry: number, vpn: number, offset: number, left: number, perm: number): number {
    const want = Math.min(left, MAX_CHUNK);
    const bytes = this.#iotlb.pagesFrom(entry, vpn) * PAGE - offset;
    return bytes >= want ? want : this.#extend(entry, vpn, bytes, want, perm);
  }

  /** The transaction goes on while the next pages are cached and lie next to each other in the same range. */
  #extend(entry: number, vpn: number, firstBytes: number, want: number, perm: number): number {
    const iotlb = this.#iotlb;
    const range = iotlb.range(entry);
    let bytes = firstBytes;
    let pages = iotlb.pagesFrom(entry, vpn);
    const page = iotlb.page(entry, vpn);
    while (bytes < want) {
      const next = iotlb.lookup(vpn + pages, perm);
      if (next < 0 || iotlb.range(next) !== range || iotlb.page(next, vpn + pages) !== page + pages) return bytes;
      bytes += PAGE;
      pages += 1;
    }
    return want;
  }

  /** Moves src[from, from+nrBytes) to byte `offset` of page `page` of the range. */
  // HOT
  #copyIn(range: AttachedRange, page: number, offset: number, src: Uint8Array, from: number, nrBytes: number): void {
    if (range.isRam && nrBytes <= LOOP_BYTES && ((offset | from | nrBytes) & 3) === 0) {
      const words = this.#wordsOf(src);
      if (words !== undefined) {
        copyWords(words, from >>> 2, range.words, page * 1024 + (offset >>> 2), nrBytes >>> 2);
        return;
      }
    }
    range.write(page * PAGE + offset, nrBytes === src.length ? src : src.subarray(from, from + nrBytes));
  }

  /** Moves bytes of the range to dst[from, from+nrBytes). */
  // HOT
  #copyOut(range: AttachedRange, page: number, offset: number, dst: Uint8Array, from: number, nrBytes: number): void {
    if (range.isRam && nrBytes <= LOOP_BYTES && ((offset | from | nrBytes) & 3) === 0) {
      const words = this.#wordsOf(dst);
      if (words !== undefined) {
        copyWords(range.words, page * 1024 + (offset >>> 2), words, from >>> 2, nrBytes >>> 2);
        return;
      }
    }
    range.read(page * PAGE + offset, nrBytes === dst.length ? dst : dst.subarray(from, from + nrBytes));
  }

  /** Words over `staging`, if it is aligned and was here just before. */
  #wordsOf(staging: Uint8Array): Int32Array | undefined {
    if (staging === this.#staging) return this.#stagingWords ?? this.#makeWords(staging);
    this.#staging = staging;
    this.#stagingWords = undefined;
    return undefined;
  }

  #makeWords(staging: Uint8Array): Int32Array | undefined {
    if (staging.byteOffset % 4 !== 0) return undefined;
    this.#stagingWords = new Int32Array(staging.buffer, staging.byteOffset, staging.length >>> 2);
    return this.#stagingWords;
  }
}

/** Four words a step: half the cost of one (17 against 38 ns for 64 bytes where a `set` takes 33). */
// HOT
function copyWords(source: Int32Array, sourceAt: number, target: Int32Array, targetAt: number, nrWords: number): void {
  let i = 0;
  for (; i + 4 <= nrWords; i += 4) {
    target[targetAt + i] = source[sourceAt + i]!;
    target[targetAt + i + 1] = source[sourceAt + i + 1]!;
    target[targetAt + i + 2] = source[sourceAt + i + 2]!;
    target[targetAt + i + 3] = source[sourceAt + i + 3]!;
  }
  for (; i < nrWords; i++) target[targetAt + i] = source[sourceAt + i]!;
}
