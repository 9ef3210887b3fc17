/**
 * The times at which a device did its work: a ring of buckets of 1 ms of CLOCK_MONOTONIC in shared
 * memory. There is one writer (the device worker) and any number of readers. A reader sees each
 * bucket whole or not at all. The ring reaches back 16 s.
 */
import { atomic32, bytes, defineShared, word64 } from '../../platform/shared.ts';

const BUCKETS = 16384;
/** A bucket's length. */
export const BUCKET_NS = 1e6;
/** The highest bucket number that can be counted exactly: some 140 000 years. */
const LAST_BUCKET = 2 ** 52;
/**
 * A writer is in a bucket for some 100 ns. A reader that finds it there this often is looking at a
 * dead writer.
 */
const MAX_ATTEMPTS = 100_000;

const Bucket = defineShared('timeline bucket', {
  seq: atomic32, // odd while the writer is in it; publishes the rest
  pad: bytes(4),
  number: word64, // time / 1 ms; tells a bucket from its predecessor one lap ago
  operations: word64,
  transactions: word64,
  bytes: word64,
  maxGapUs: word64, // longest silence that ended in this bucket
});

const BUCKET_WORDS = Bucket.size / 4;

export interface TimelineBucket {
  /** Milliseconds of CLOCK_MONOTONIC. */
  readonly number: number;
  readonly operations: number;
  readonly transactions: number;
  readonly bytes: number;
  readonly maxGapUs: number;
}

export interface TimelineSummary {
  readonly operations: number;
  readonly transactions: number;
  readonly bytes: number;
  readonly maxGapUs: number;
}

export function createTimeline(): SharedArrayBuffer {
  return new SharedArrayBuffer(BUCKETS * Bucket.size);
}

export class Timeline {
  readonly #words: Int32Array;
  readonly #longs: Float64Array;
  /** Writer only: time of the last operation, 0 before the first. */
  #lastNs = 0;

  constructor(timeline: SharedArrayBuffer) {
    this.#words = new Int32Array(timeline);
    this.#longs = new Float64Array(timeline);
  }

  /** Writer only: one operation ended at `nowNs`; times must not go backwards. */
  record(nowNs: number, transactions: number, nrBytes: number): void {
    const longs = this.#longs;
    const gapUs = this.#lastNs === 0 ? 0 : (nowNs - this.#lastNs) / 1000;
    this.#lastNs = nowNs;
    const number = Math.floor(nowNs / BUCKET_NS);
    const base = (number % BUCKETS) * BUCKET_WORDS;
    const at = base / 2;
    const seq = base + Bucket.word.seq;
    // Read-modify-write, so that the plain stores below cannot be seen before it. Pairs with the
    // loads in #read.
    Atomics.add(this.#words, seq, 1);
    if (longs[at + Bucket.word64.number] !== number) {
      longs[at + Bucket.word64.number] = number;
      longs[at + Bucket.word64.operations] = 0;
      longs[at + Bucket.word64.transactions] = 0;
      longs[at + Bucket.word64.bytes] = 0;
      longs[at + Bucket.word64.maxGapUs] = 0;
    }
    longs[at + Bucket.word64.operations]! += 1;
    longs[at + Bucket.word64.transactions]! += transactions;
    longs[at + Bucket.word64.bytes]! += nrBytes;
    if (gapUs > longs[at + Bucket.word64.maxGapUs]!) longs[at + Bucket.word64.maxGapUs] = gapUs;
    Atomics.add(this.#words, seq, 1); // pairs with the loads in #read
  }

  /**
   * The non-empty buckets that overlap [fromNs, toNs), oldest first; at most the last 16 s before
   * the newest one.
   */
  slice(fromNs: number, toNs: number): TimelineBucket[] {
    const end = Math.min(Math.ceil(toNs / BUCKET_NS), LAST_BUCKET);
    const first = Math.max(Math.floor(fromNs / BUCKET_NS), end - BUCKETS, 0);
    const found: TimelineBucket[] = [];
    for (let number = first; number < end; number++) {
      const bucket = this.#read(number);
      if (bucket) found.push(bucket);
    }
    return found;
  }

  #read(number: number): TimelineBucket | undefined {
    const base = (number % BUCKETS) * BUCKET_WORDS;
    const at = base / 2;
    const longs = this.#longs;
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      // pairs with the adds in record
      const before = Atomics.load(this.#words, base + Bucket.word.seq);
      if ((before & 1) !== 0) continue; // the writer is in it for some 100 ns
      const bucket = {
        number: longs[at + Bucket.word64.number]!,
        operations: longs[at + Bucket.word64.operations]!,
        transactions: longs[at + Bucket.word64.transactions]!,
        bytes: longs[at + Bucket.word64.bytes]!,
        maxGapUs: longs[at + Bucket.word64.maxGapUs]!,
      };
      // pairs with the adds in record
      if (Atomics.load(this.#words, base + Bucket.word.seq) !== before) continue;
      return bucket.number === number && bucket.operations > 0 ? bucket : undefined;
    }
    return undefined; // its writer was stopped in the middle
  }
}

/**
 * Sums the buckets that overlap [fromNs, toNs). The longest gap is the longest silence that ended
 * in the window, or the one that lasted to its end.
 */
export function summarize(buckets: readonly TimelineBucket[], fromNs: number, toNs: number): TimelineSummary {
  let operations = 0;
  let transactions = 0;
  let nrBytes = 0;
  let maxGapUs = 0;
  let silentSinceNs = fromNs;
  for (const bucket of buckets) {
    const startNs = bucket.number * BUCKET_NS;
    if (startNs + BUCKET_NS <= fromNs || startNs >= toNs) continue;
    operations += bucket.operations;
    transactions += bucket.transactions;
    nrBytes += bucket.bytes;
    maxGapUs = Math.max(maxGapUs, bucket.maxGapUs);
    silentSinceNs = Math.max(silentSinceNs, startNs + BUCKET_NS);
  }
  const tailUs = Math.max(0, toNs - silentSinceNs) / 1000;
  return { operations, transactions, bytes: nrBytes, maxGapUs: Math.max(maxGapUs, tailUs) };
}
