/** Between ring-worker.ts and the test. */

export interface RingWork {
  readonly interrupts: SharedArrayBuffer;
  readonly vector: number;
  readonly perLot: number;
  /** Words: lots asked for, lots done; −1 asked for: leave. */
  readonly lots: SharedArrayBuffer;
}

export const ASKED = 0;
export const DONE = 1;
