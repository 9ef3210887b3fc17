/** Between virqfd.ts and its thread. */
import { atomic32, defineShared } from '../../../../platform/shared.ts';

export interface VirqfdWorkerData {
  /** A non-blocking eventfd: wakes the thread out of its poll(2). */
  readonly wake: number;
  /** State, below. */
  readonly state: SharedArrayBuffer;
}

/** To the thread: the eventfds it watches from now on. */
export interface WatchList {
  readonly generation: number;
  readonly fds: readonly number[];
}

/** From the thread: this eventfd was signalled, and has been read; or: this list is being watched. */
export type VirqfdMessage = { readonly fired: number } | { readonly watching: number };

export const State = defineShared('virqfd state', {
  stop: atomic32, // kernel: 1 = leave
  generation: atomic32, // thread: the WatchList it has taken; fds of earlier ones are no longer used. −1 when it has left
});
