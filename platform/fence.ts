/**
 * A full memory barrier: no later load of this thread is made before its earlier stores are seen by
 * others. Plain stores and loads of shared memory give no such order, not even on x86-64.
 */
let word: Int32Array | undefined;

/** HOT: a locked instruction on a line that is this thread's alone. */
export function fullFence(): void {
  word ??= new Int32Array(new SharedArrayBuffer(4)); // not earlier: a heap snapshot has no shared memory
  Atomics.exchange(word, 0, 0);
}
