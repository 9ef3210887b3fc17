/** Thread entry: poll(2) on the watched eventfds. Woken by each of them, and by `wake` for a new list or a stop. */
import { parentPort, receiveMessageOnPort } from 'node:worker_threads';

import { eventfdDrain, POLLIN, poll } from '../../../../platform/libc.ts';
import { workerInput } from '../../../../platform/thread.ts';
import { State, type VirqfdMessage, type VirqfdWorkerData, type WatchList } from './protocol.ts';

const { wake, state } = workerInput<VirqfdWorkerData>();
const words = new Int32Array(state);
const port = parentPort!;
const send = (message: VirqfdMessage): void => port.postMessage(message);
let fds: readonly number[] = [];

// pairs with the store in virqfd.ts:stop
while (Atomics.load(words, State.word.stop) === 0) {
  const revents =
    poll(
      [wake, ...fds].map((fd) => ({ fd, events: POLLIN })),
      -1,
    ) ?? [];
  fds.forEach((fd, i) => {
    if (((revents[i + 1] ?? 0) & POLLIN) === 0) return;
    eventfdDrain(fd); // the client may have been faster
    send({ fired: fd });
  });
  eventfdDrain(wake);
  for (;;) {
    const received = receiveMessageOnPort(port) as { message: WatchList } | undefined;
    if (!received) break;
    ({ fds } = received.message);
    Atomics.store(words, State.word.generation, received.message.generation); // pairs with the load in virqfd.ts:settle
    Atomics.notify(words, State.word.generation);
    send({ watching: received.message.generation });
  }
}
Atomics.store(words, State.word.generation, -1);
Atomics.notify(words, State.word.generation);
port.close();
