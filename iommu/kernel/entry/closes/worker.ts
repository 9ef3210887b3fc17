/**
 * Thread entry. An event loop cannot wait for an inotify instance, so this thread waits. It is
 * woken by a close, and by its owner to end.
 */
import { parentPort } from 'node:worker_threads';

import { EPOLLET, epollAdd, epollCreate, epollWait } from '../../../../platform/libc/epoll.ts';
import { close } from '../../../../platform/libc/fd.ts';
import { POLLIN } from '../../../../platform/libc/poll.ts';
import { workerInput } from '../../../../platform/thread.ts';
import type { ClosesWorkerData } from './protocol.ts';

const { inotify, stop } = workerInput<ClosesWorkerData>();
const epoll = epollCreate();
epollAdd(epoll, inotify, POLLIN | EPOLLET); // once for each event: the owner reads them
epollAdd(epoll, stop, POLLIN);
for (;;) {
  const ready = epollWait(epoll, -1);
  if (ready.includes(stop)) break;
  if (ready.includes(inotify)) parentPort!.postMessage(undefined);
}
close(epoll);
