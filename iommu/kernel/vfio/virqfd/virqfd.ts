/**
 * Eventfds that a client signals and the kernel acts on (drivers/vfio/virqfd.c): unmasking of INTx, ioeventfds. An event
 * loop cannot wait for an eventfd, so a thread does, started for the first watch.
 */
import type { Worker } from 'node:worker_threads';

import { close, EFD_CLOEXEC, EFD_NONBLOCK, eventfd, eventfdSignal } from '../../../../platform/libc.ts';
import { startWorker } from '../../../../platform/thread.ts';
import { State, type VirqfdMessage, type VirqfdWorkerData, type WatchList } from './protocol.ts';

export interface VirqfdWatch {
  /** Resolves when a signal can no longer go unnoticed for long: the thread is up and watching. */
  readonly armed: Promise<void>;
  close(): void;
}

interface Arming {
  readonly generation: number;
  readonly resolve: () => void;
}

/** Longest single wait for the thread, which answers in microseconds when it runs. */
const SETTLE_MS = 100;

export class Virqfds {
  readonly #handlers = new Map<number, () => void>();
  readonly #name: string;
  #thread: Worker | undefined;
  /** The thread's State. */
  #words = new Int32Array(new SharedArrayBuffer(0));
  #wake = -1;
  #generation = 0;
  #arming: readonly Arming[] = [];

  /** `name` of the device, for the thread's name. */
  constructor(name: string) {
    this.#name = name;
  }

  /** Calls `handler` each time `fd` is signalled, also if it is already; takes the fd. */
  watch(fd: number, handler: () => void): VirqfdWatch {
    this.#handlers.set(fd, handler);
    this.#start();
    const generation = this.#publish();
    const armed = new Promise<void>((resolve) => {
      this.#arming = [...this.#arming, { generation, resolve }];
    });
    return { armed, close: () => this.#close(fd) };
  }

  #start(): void {
    if (this.#thread) return;
    this.#wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    const state = new SharedArrayBuffer(State.size);
    this.#words = new Int32Array(state);
    const data: VirqfdWorkerData = { wake: this.#wake, state };
    this.#thread = startWorker('iommu/kernel/vfio/virqfd/worker', data, { name: `virqfd ${this.#name}` });
    this.#thread.unref();
    this.#thread.on('message', (message: VirqfdMessage) => {
      if ('fired' in message) this.#handlers.get(message.fired)?.();
      else this.#armed(message.watching);
    });
  }

  #armed(generation: number): void {
    const waiting = this.#arming;
    this.#arming = waiting.filter((one) => one.generation > generation);
    for (const one of waiting) if (one.generation <= generation) one.resolve();
  }

  #publish(): number {
    const list: WatchList = { generation: ++this.#generation, fds: [...this.#handlers.keys()] };
    this.#thread!.postMessage(list);
    eventfdSignal(this.#wake);
    return list.generation;
  }

  /** When it returns the thread no longer uses the fd, which is closed. The last watch ends the thread. */
  #close(fd: number): void {
    if (!this.#handlers.delete(fd)) return;
    if (this.#handlers.size > 0) {
      this.#settle(this.#publish());
    } else {
      Atomics.store(this.#words, State.word.stop, 1); // pairs with the load in worker.ts
      eventfdSignal(this.#wake);
      this.#settle(-1);
      close(this.#wake);
      this.#thread = undefined;
      this.#armed(this.#generation);
    }
    close(fd);
  }

  /** Waits until the thread, which never sleeps but in its poll(2), has gone on to `generation`. */
  #settle(generation: number): void {
    const words = this.#words;
    for (;;) {
      const now = Atomics.load(words, State.word.generation); // pairs with the stores in worker.ts
      if (now === generation || now === -1) return;
      Atomics.wait(words, State.word.generation, now, SETTLE_MS); // woken by worker.ts
    }
  }
}
