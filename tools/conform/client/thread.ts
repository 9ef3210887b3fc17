/** A thread of the client. It is a worker with a task channel of its own. */
import type { Worker } from 'node:worker_threads';

import { startWorker } from '../../../platform/thread.ts';
import type { ActorLink } from './actor.ts';
import type { ActorMessage, ActorReply, ActorRequest, ThreadData } from './protocol.ts';

export class ThreadLink implements ActorLink {
  readonly #worker: Worker;
  tid = 0;
  onReply: (reply: ActorReply) => void = () => {};

  private constructor(worker: Worker) {
    this.#worker = worker;
  }

  /** Resolves when the thread waits for its first step. */
  static start(name: string, data: ThreadData): Promise<ThreadLink> {
    const worker = startWorker('tools/conform/client/worker', data, { name });
    const link = new ThreadLink(worker);
    return new Promise((resolve, reject) => {
      worker.once('error', reject);
      worker.on('message', (message: ActorMessage) => {
        if ('tid' in message) {
          link.tid = message.tid;
          resolve(link);
        } else link.onReply(message);
      });
    });
  }

  send(request: ActorRequest): void {
    this.#worker.postMessage(request);
  }
}
