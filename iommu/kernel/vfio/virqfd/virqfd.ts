/**
 * Eventfds that a client signals and the kernel acts on (drivers/vfio/virqfd.c): the unmasking of
 * INTx, and ioeventfds. An event loop cannot wait for an eventfd, so a thread waits. The first
 * watch starts the thread.
 */
import { MessageChannel, type MessagePort, receiveMessageOnPort, type Worker } from 'node:worker_threads';

import { enomem } from '../../../../platform/errno.ts';
import { EventfdWatch, takeEdge } from '../../../../platform/eventfd-watch.ts';
import { EFD_CLOEXEC, EFD_NONBLOCK, eventfd, eventfdDrain, eventfdSignal } from '../../../../platform/libc/eventfd.ts';
import { close } from '../../../../platform/libc/fd.ts';
import { startWorker } from '../../../../platform/thread.ts';
import type { ClientEventfd } from '../../core/open-file.ts';
import { State, type VirqfdMessage, type VirqfdWorkerData, type WatchList } from './protocol.ts';

export interface VirqfdWatch {
  /**
   * Resolves when the thread is up and watches the eventfd. From then on a signal is noticed soon.
   */
  readonly armed: Promise<void>;
  /**
   * True when the users have closed the eventfd (EPOLLHUP). No signal can come any more, and the
   * watch counts as none.
   */
  ended(): boolean;
  /** vfio_virqfd_disable. Signals from before are carried out before it returns. */
  close(): void;
  /** The device is closed: no signal is carried out any more. */
  drop(): void;
}

interface Watched {
  readonly watch: EventfdWatch;
  readonly eventfd: ClientEventfd;
  readonly handler: () => void;
}

interface Arming {
  readonly generation: number;
  readonly resolve: () => void;
}

/** The longest single wait for the thread. A running thread answers in microseconds. */
const SETTLE_MS = 100;

export class Virqfds {
  /** By id. */
  readonly #watched = new Map<number, Watched>();
  readonly #name: string;
  #lastId = 0;
  #thread: Worker | undefined;
  #port: MessagePort | undefined;
  /** The words of the State that the thread shares. */
  #words = new Int32Array(new SharedArrayBuffer(0));
  #wake = -1;
  #generation = 0;
  #arming: readonly Arming[] = [];

  readonly #limit: number;

  /**
   * `name` is the device's, for the name of the thread. `limit` is how many eventfds may be watched
   * at a time; each watch costs the host a fd.
   */
  constructor(name: string, limit = Number.POSITIVE_INFINITY) {
    this.#name = name;
    this.#limit = limit;
  }

  /**
   * Calls `handler` each time the eventfd is signalled, and also if it is signalled already. Takes
   * the eventfd's fd, even when it throws. Reads the eventfd's count if the eventfd can still be
   * found. ENOMEM when the device already watches `limit` eventfds.
   */
  watch(eventfd: ClientEventfd, handler: () => void): VirqfdWatch {
    if (this.#watched.size >= this.#limit) {
      close(eventfd.fd);
      throw enomem(`${this.#name} has its share of the host's file descriptors: ${this.#limit} eventfds are watched`);
    }
    const id = ++this.#lastId;
    const watch = new EventfdWatch(eventfd.fd);
    this.#watched.set(id, { watch, eventfd, handler });
    this.#start();
    const generation = this.#publish();
    const armed = new Promise<void>((resolve) => {
      this.#arming = [...this.#arming, { generation, resolve }];
    });
    const ended = (): boolean => !watch.alive();
    return { armed, ended, close: () => this.#close(id, true), drop: () => this.#close(id, false) };
  }

  #start(): void {
    if (this.#thread) return;
    this.#wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    const state = new SharedArrayBuffer(State.size);
    this.#words = new Int32Array(state);
    const { port1: here, port2: port } = new MessageChannel();
    const data: VirqfdWorkerData = { wake: this.#wake, state, port };
    const name = `virqfd ${this.#name}`;
    this.#thread = startWorker('iommu/kernel/vfio/virqfd/worker', data, { name, transferList: [port] });
    this.#thread.unref();
    here.on('message', (message: VirqfdMessage) => this.#received(message));
    here.unref();
    this.#port = here;
  }

  #received(message: VirqfdMessage): void {
    if ('fired' in message) this.#fired(message.fired);
    else this.#armed(message.watching);
  }

  /** virqfd_wakeup: reads the count, then does the work. */
  #fired(id: number): void {
    const watched = this.#watched.get(id);
    if (!watched) return;
    const fd = watched.eventfd.again();
    if (fd !== undefined) {
      eventfdDrain(fd);
      close(fd);
    }
    watched.handler();
  }

  #armed(generation: number): void {
    const waiting = this.#arming;
    this.#arming = waiting.filter((one) => one.generation > generation);
    for (const one of waiting) if (one.generation <= generation) one.resolve();
  }

  /** Tells the thread to watch all eventfds but `without` from now on. */
  #publish(without?: number): number {
    const generation = ++this.#generation;
    const watches = [...this.#watched]
      .filter(([id]) => id !== without)
      .map(([id, { watch }]) => ({ epoll: watch.epoll, id }));
    const list: WatchList = { generation, watches };
    this.#port!.postMessage(list);
    eventfdSignal(this.#wake);
    return generation;
  }

  /**
   * Closes a watch. When this returns, the thread no longer uses it. The close of the last watch
   * ends the thread.
   */
  #close(id: number, finish: boolean): void {
    const watched = this.#watched.get(id);
    if (!watched) return;
    if (!finish) this.#watched.delete(id);
    const last = this.#watched.size === (finish ? 1 : 0);
    if (last) {
      Atomics.store(this.#words, State.word.stop, 1); // pairs with the load in worker.ts
      eventfdSignal(this.#wake);
    }
    this.#settle(last ? -1 : this.#publish(id));
    this.#receiveAll();
    if (finish && takeEdge(watched.watch.epoll)) this.#fired(id);
    this.#watched.delete(id);
    watched.watch.close();
    if (last) this.#ended();
  }

  #ended(): void {
    close(this.#wake);
    this.#port?.close();
    this.#thread = undefined;
    this.#armed(this.#generation);
  }

  /** Handles all messages that the thread has sent up to now. */
  #receiveAll(): void {
    for (;;) {
      const received = receiveMessageOnPort(this.#port!) as { message: VirqfdMessage } | undefined;
      if (!received) return;
      this.#received(received.message);
    }
  }

  /**
   * Waits until the thread has reached `generation`. The thread sleeps nowhere but in its waiter.
   */
  #settle(generation: number): void {
    const words = this.#words;
    for (;;) {
      const now = Atomics.load(words, State.word.generation); // pairs with the stores in worker.ts
      if (now === generation || now === -1) return;
      Atomics.wait(words, State.word.generation, now, SETTLE_MS); // woken by worker.ts
    }
  }
}
