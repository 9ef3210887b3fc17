/**
 * Hashes of the memory objects, at the request of clients. A hash takes seconds of all CPUs, so
 * only one is made at a time.
 */
import { einval } from '../../platform/errno.ts';
import { PAGE_SIZE } from '../../platform/page.ts';
import type { AttachedObject } from './memory-map.ts';

/** The most slices of an object. */
const MAX_SLICES = 4096;

/**
 * A queue that makes one hash at a time. Requests that wait for the same slice size share one hash.
 * That hash starts after all of them were made.
 */
export class HashQueue<T> {
  readonly #waiting = new Map<number, Promise<T>>();
  #last: Promise<unknown> = Promise.resolve();

  /** Asks for a hash. EINVAL for a slice size that is no power of two, or less than a page. */
  ask(sliceBytes: number, hash: () => Promise<T>): Promise<T> {
    const waiting = this.#waiting.get(sliceBytes);
    if (waiting) return waiting;
    if (!isSliceSize(sliceBytes)) return Promise.reject(einval(`slices of ${sliceBytes} bytes`));
    const made = this.#last.then(() => {
      this.#waiting.delete(sliceBytes);
      return hash();
    });
    this.#waiting.set(sliceBytes, made);
    this.#last = made.catch(() => undefined); // the callers get the error
    return made;
  }
}

const isSliceSize = (bytes: number): boolean =>
  bytes >= PAGE_SIZE && bytes <= 2 ** 52 && Number.isInteger(Math.log2(bytes));

/** Hashes all objects. EINVAL for an object of too many slices. */
export async function hashObjects(objects: readonly AttachedObject[], sliceBytes: number) {
  const largest = Math.max(0, ...objects.map(({ range }) => range.size));
  if (largest / sliceBytes > MAX_SLICES)
    throw einval(`slices of ${sliceBytes} bytes: more than ${MAX_SLICES} of ${largest}`);
  const { RamHasher } = await import('../../platform/ram-hash.ts'); // its pool takes 20 ms to load
  const hasher = new RamHasher();
  try {
    const hashed = [];
    for (const { range, id } of objects) {
      const slices = await hasher.slices(range.buffer, range.size, sliceBytes);
      hashed.push({ ...id, size: range.size, slices });
    }
    return hashed;
  } finally {
    await hasher.close();
  }
}
