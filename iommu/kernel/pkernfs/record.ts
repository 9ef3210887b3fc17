/**
 * Records in memory that outlives its writer. A record is some words and their checksum. To write
 * one is: checksum := 0, the words, checksum. So a record whose checksum is 0 was never finished or
 * is gone, and one whose checksum does not match is damaged: no crash leaves that.
 */
import { crc32 } from 'node:zlib';

/** Where a record is copied for crc32, which takes no shared memory; of the last record's size. */
let scratch = new Int32Array(0);
let bytes = new Uint8Array(0);

/**
 * The checksum of words [at, at + count), never 0. HOT: once for each mapping that a kernel picks
 * up; `npm run bench`, kexec.
 */
export function checksumOf(words: Int32Array, at: number, count: number): number {
  if (scratch.length !== count) {
    scratch = new Int32Array(count);
    bytes = new Uint8Array(scratch.buffer);
  }
  for (let i = 0; i < count; i++) scratch[i] = words[at + i]!;
  return crc32(bytes) | 0 || 1;
}

/** The record of `count` words at `at`, with its checksum behind them. */
export function publishRecord(words: Int32Array, at: number, values: readonly number[]): void {
  const count = values.length;
  Atomics.store(words, at + count, 0);
  for (let i = 0; i < count; i++) Atomics.store(words, at + i, values[i]! | 0);
  // pairs with the load in recordState, of this kernel or the next
  Atomics.store(words, at + count, checksumOf(words, at, count));
}

/** Takes a record away. */
export function withdrawRecord(words: Int32Array, at: number, count: number): void {
  Atomics.store(words, at + count, 0);
}

export type RecordState = 'none' | 'sound' | 'damaged';

export function recordState(words: Int32Array, at: number, count: number): RecordState {
  const checksum = Atomics.load(words, at + count); // pairs with the store in publishRecord
  if (checksum === 0) return 'none';
  return checksum === checksumOf(words, at, count) ? 'sound' : 'damaged';
}
