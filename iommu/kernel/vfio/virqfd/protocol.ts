/** The messages and the shared state between virqfd.ts and its thread. */
import type { MessagePort } from 'node:worker_threads';

import { atomic32, defineShared } from '../../../../platform/shared.ts';

export interface VirqfdWorkerData {
  /** A non-blocking eventfd that wakes the thread. */
  readonly wake: number;
  /** The shared words of State, below. */
  readonly state: SharedArrayBuffer;
  /**
   * The port carries WatchLists to the thread and VirqfdMessages from it. It is in the
   * transferList.
   */
  readonly port: MessagePort;
}

/** A message to the thread: the list of eventfds that it watches from now on. */
export interface WatchList {
  readonly generation: number;
  /**
   * The epoll fds of EventfdWatches. `id` is the number under which the thread reports a signal; no
   * id is used twice.
   */
  readonly watches: readonly { readonly epoll: number; readonly id: number }[];
}

/**
 * A message from the thread: the eventfd with id `fired` was signalled, or the list of generation
 * `watching` is now watched.
 */
export type VirqfdMessage = { readonly fired: number } | { readonly watching: number };

export const State = defineShared('virqfd state', {
  stop: atomic32, // kernel: 1 = leave
  generation: atomic32, // thread: the WatchList it has taken; fds of earlier ones are no longer used. −1 when it has left
});
