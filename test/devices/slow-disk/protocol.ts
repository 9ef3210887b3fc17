/** Between a test and the thread that holds a thread for it (held-thread.ts, worker.ts). */
import { atomic32, defineShared } from '../../../platform/shared.ts';

export const HOLD = defineShared('hold', {
  seized: atomic32, // written by the worker: 1 from when it has the thread
  held: atomic32, // written by the worker: 1 from when the thread stands
  released: atomic32, // written by the test, which notifies: 1 when the thread shall go on
});

export interface HoldData {
  readonly words: SharedArrayBuffer;
  readonly tid: number;
}
