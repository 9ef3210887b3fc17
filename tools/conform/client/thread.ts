/** A thread of the client: a worker with a task channel of its own. */
import type { Worker } from 'node:worker_threads';

import { startWorker } from '../../../platform/thread.ts';
import type { ActorLink } from './actor.ts';
import type { ActorReply, ActorRequest, ThreadData, ThreadMessage } from './protocol.ts';

export class ThreadLink implements ActorLink {
  readonly #worker: Worker;
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
      worker.on('message', (message: ThreadMessage) => {
        if ('ready' in message) resolve(link);
        else link.onReply(message);
      });
    });
  }

  send(request: ActorRequest): void {
    this.#worker.postMessage(request);
  }
}
