/**
 * pread(2) and pwrite(2). On Linux a long transfer keeps its own CPU busy. Here all callers share
 * one thread, so a transfer is done in slices, and the other callers are served in between. A BAR
 * of registers takes some 10 µs for 4 bytes, and seconds for 1 MiB.
 */
import { codeOf, eintr } from '../../../platform/errno.ts';
import { othersServed } from '../../../platform/slices.ts';
import type { FileOperations } from '../core/open-file.ts';

/**
 * A multiple of every access width: a transfer is cut in the same pieces as without slices (PCI-7).
 */
const SLICE_BYTES = 512;
/** The longest time a transfer goes on before the other callers are served. */
const TURN_MS = 1;

export interface Transfer {
  readonly offset: bigint;
  readonly length: number;
  /** The caller's task. A kill ends a long transfer between two slices. */
  readonly task: { readonly pid: number; readonly killed: AbortSignal };
}

export function readFile(
  pread: NonNullable<FileOperations['pread']>,
  { offset, length, task }: Transfer,
): Uint8Array | Promise<Uint8Array> {
  if (length <= SLICE_BYTES) return pread(offset, length);
  const data = new Uint8Array(length);
  const slice = (done: number, size: number): number => {
    const part = pread(offset + BigInt(done), size);
    data.set(part, done);
    return part.length;
  };
  return inSlices(length, task, slice).then((done) => data.subarray(0, done));
}

export function writeFile(
  pwrite: NonNullable<FileOperations['pwrite']>,
  data: Uint8Array,
  { offset, task }: Omit<Transfer, 'length'>,
): number | Promise<number> {
  if (data.length <= SLICE_BYTES) return pwrite(offset, data);
  return inSlices(data.length, task, (done, size) => pwrite(offset + BigInt(done), data.subarray(done, done + size)));
}

/**
 * Calls `slice(done, size)` until one is short or nothing is left. Returns the bytes moved. EINTR
 * when the caller is killed.
 */
async function inSlices(
  length: number,
  { pid, killed }: Transfer['task'],
  slice: (done: number, size: number) => number,
): Promise<number> {
  let done = 0;
  let turnEnds = performance.now() + TURN_MS;
  while (done < length) {
    const size = Math.min(SLICE_BYTES, length - done);
    const moved = moveSlice(slice, done, size);
    done += moved;
    if (moved < size) break;
    if (performance.now() < turnEnds) continue;
    await othersServed(pid);
    if (killed.aborted) throw eintr('killed in the middle of a transfer');
    turnEnds = performance.now() + TURN_MS;
  }
  return done;
}

/**
 * Moves one slice. A file that ended with the slice before refuses the next one: that is the end of
 * the file, and no error of the whole transfer.
 */
function moveSlice(slice: (done: number, size: number) => number, done: number, size: number): number {
  try {
    return slice(done, size);
  } catch (error) {
    if (done > 0 && codeOf(error) === 'EINVAL') return 0;
    throw error;
  }
}
