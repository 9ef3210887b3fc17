/**
 * SHA-256 of large shared memory, in slices, by a pool of threads. The memory is hashed in place.
 * The caller must see to it that no thread writes to it meanwhile; otherwise the digest matches no
 * moment in time.
 */
import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { pathToFileURL } from 'node:url';

import { Piscina } from 'piscina';
import { canStripTypes, entryUrl } from './entry.ts';
import type { HashSlice } from './ram-hash.task.ts';

export const SLICE_BYTES = 8 * 1024 * 1024;
const MAX_THREADS = 4;

/**
 * The options with which a pool thread loads a .ts task where Node cannot strip types itself (Node
 * 20 under tsx or vitest).
 */
function loader(task: URL): string[] {
  if (!task.pathname.endsWith('.ts') || canStripTypes) return [];
  return ['--import', pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href];
}

/** A pool of hashing threads; close it. */
export class RamHasher {
  readonly #pool: Piscina<HashSlice, string>;

  constructor() {
    const task = entryUrl('platform/ram-hash.task');
    this.#pool = new Piscina({
      filename: task.href,
      minThreads: 1,
      maxThreads: Math.min(MAX_THREADS, availableParallelism()),
      execArgv: loader(task),
    });
  }

  /**
   * Digest (hex) of each slice of the first `length` bytes, in order; the last one may be short.
   */
  slices(buffer: SharedArrayBuffer, length: number, sliceBytes = SLICE_BYTES): Promise<string[]> {
    const tasks: Promise<string>[] = [];
    for (let offset = 0; offset < length; offset += sliceBytes) {
      tasks.push(this.#pool.run({ buffer, offset, length: Math.min(sliceBytes, length - offset) }));
    }
    return Promise.all(tasks);
  }

  /** Ends the threads. */
  close(): Promise<void> {
    return this.#pool.destroy();
  }
}

/** One digest (hex) of the first `length` bytes: the hash of the slices' digests, in order. */
export async function hashRam(buffer: SharedArrayBuffer, length: number): Promise<string> {
  const hasher = new RamHasher();
  try {
    return combineSlices(await hasher.slices(buffer, length));
  } finally {
    await hasher.close();
  }
}

/** The digest that hashRam gives for memory whose slices have these digests. */
export function combineSlices(slices: readonly string[]): string {
  const hash = createHash('sha256');
  for (const slice of slices) hash.update(slice, 'hex');
  return hash.digest('hex');
}
