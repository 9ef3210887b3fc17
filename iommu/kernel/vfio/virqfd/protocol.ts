/** Between virqfd.ts and its thread. */
import type { MessagePort } from 'node:worker_threads';

import { atomic32, defineShared } from '../../../../platform/shared.ts';

export interface VirqfdWorkerData {
  /** A non-blocking eventfd: wakes the thread out of its sleep. */
  readonly wake: number;
  /** State, below. */
  readonly state: SharedArrayBuffer;
  /** WatchLists to the thread, VirqfdMessages from it. In the transferList. */
  readonly port: MessagePort;
}

/** To the thread: what it watches from now on. */
export interface WatchList {
  readonly generation: number;
  /**
   * The epoll fds of EventfdWatches, and the numbers under which it tells of them: never used
   * twice.
   */
  readonly watches: readonly { readonly epoll: number; readonly id: number }[];
}

/** From the thread: this one's eventfd was signalled; or: this list is being watched. */
export type VirqfdMessage = { readonly fired: number } | { readonly watching: number };

export const State = defineShared('virqfd state', {
  stop: atomic32, // kernel: 1 = leave
  generation: atomic32, // thread: the WatchList it has taken; fds of earlier ones are no longer used. −1 when it has left
});
