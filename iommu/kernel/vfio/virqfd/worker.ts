/**
 * Thread entry. The thread sleeps until a watched eventfd is signalled. A signal of `wake` means
 * that there is a new list or that the thread must stop.
 */
import { receiveMessageOnPort } from 'node:worker_threads';

import { takeEdge } from '../../../../platform/eventfd-watch.ts';
import { eventfdDrain } from '../../../../platform/libc/eventfd.ts';
import { createPollWaiter } from '../../../../platform/poll-waiter.ts';
import { workerInput } from '../../../../platform/thread.ts';
import { State, type VirqfdMessage, type VirqfdWorkerData, type WatchList } from './protocol.ts';

const { wake, state, port } = workerInput<VirqfdWorkerData>();
const words = new Int32Array(state);
const waiter = createPollWaiter();
const send = (message: VirqfdMessage): void => port.postMessage(message);
/** The ids of the watches, by epoll fd. */
let ids = new Map<number, number>();

function tellOf(epoll: number): void {
  const id = ids.get(epoll);
  if (id === undefined) return;
  takeEdge(epoll); // before the kernel acts: a later signal is another one
  send({ fired: id });
  waiter.arm(epoll);
}

function takeList({ generation, watches }: WatchList): void {
  const next = new Map(watches.map(({ epoll, id }) => [epoll, id]));
  for (const [epoll, id] of ids) if (next.get(epoll) !== id) waiter.disarm(epoll);
  for (const [epoll, id] of next) if (ids.get(epoll) !== id) waiter.arm(epoll);
  ids = next;
  // pairs with the load in virqfd.ts:#settle
  Atomics.store(words, State.word.generation, generation);
  Atomics.notify(words, State.word.generation);
  send({ watching: generation });
}

waiter.arm(wake);
// pairs with the store in virqfd.ts:#close
while (Atomics.load(words, State.word.stop) === 0) {
  for (const fd of waiter.wait()) {
    if (fd !== wake) {
      tellOf(fd);
      continue;
    }
    eventfdDrain(wake);
    waiter.arm(wake);
  }
  for (;;) {
    const received = receiveMessageOnPort(port) as { message: WatchList } | undefined;
    if (!received) break;
    takeList(received.message);
  }
}
waiter.close();
Atomics.store(words, State.word.generation, -1); // pairs with the load in virqfd.ts:#settle
Atomics.notify(words, State.word.generation);
port.close();
