/**
 * Tells devices that their sockets have become ready. A device worker sleeps on futexes, where no
 * socket can wake it; this thread sleeps in epoll_wait(2) for all of them. It reads no socket: the
 * device does, on its own thread. Sockets are watched by edges, so a device that leaves bytes
 * where they are, because its driver has no room for them, is not told again, and nobody spins.
 */
import { epollAdd, epollCreate, epollWait } from '../../../platform/libc/epoll.ts';
import { close } from '../../../platform/libc/fd.ts';
import { POLLIN } from '../../../platform/libc/poll.ts';
import { DeviceControl } from '../../kit/control.ts';
import type { NewsInput } from './protocol.ts';

/** Longest sleep: Node ends a thread only between two calls. */
const MAX_SLEEP_MS = 1000;

/** The thread's life. Woken by each edge of a device's sockets, and by `stop`, which ends it. */
export function watchNews({ devices, stop }: NewsInput): void {
  const all = epollCreate();
  epollAdd(all, stop, POLLIN);
  const tell = new Map<number, () => void>();
  for (const { news, control, mailbox } of devices) {
    const words = new DeviceControl(control);
    tell.set(news, () => words.tellNews(mailbox));
    epollAdd(all, news, POLLIN);
  }
  for (;;) {
    const ready = epollWait(all, MAX_SLEEP_MS);
    if (ready.includes(stop)) break;
    for (const news of ready) {
      // Takes the edges, before the device looks: what comes from now on is an edge of its own.
      epollWait(news, 0);
      tell.get(news)?.();
    }
  }
  close(all);
}
