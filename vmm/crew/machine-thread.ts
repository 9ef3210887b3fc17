/**
 * A thread of the VMM as main sees it: the request word that the thread obeys, the messages that it
 * sends, and whether the thread exists.
 */
import type { Worker } from 'node:worker_threads';

import { eio, etimedout } from '../../platform/errno.ts';
import { requestWord } from '../machine/control/control-block.ts';

/** A thread that does not answer within this time is stuck. */
const ANSWER_MS = 5000;

interface Failed {
  readonly kind: 'failed';
  readonly reason: string;
}

/** A message that answers a request names its number; all others are news. */
interface Said {
  readonly kind: string;
  readonly request?: number;
}

interface Waiter<Message> {
  readonly resolve: (message: Message) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

export abstract class MachineThread<Message extends Said> {
  readonly #who: string;
  readonly #listeners = new Set<(message: Message | Failed) => void>();
  /** Requests without an answer yet, by number. */
  readonly #waiting = new Map<number, Waiter<Message>>();
  #worker: Worker | undefined;
  #gone: Promise<unknown> = Promise.resolve();
  #requests = 0;

  /** `who` is the thread's name in messages for people. */
  constructor(who: string) {
    this.#who = who;
  }

  /** `worker` is the thread. If it crashes, listeners get a `failed` message. */
  attach(worker: Worker): void {
    this.#worker = worker;
    this.#gone = new Promise((resolve) => worker.once('exit', resolve));
    worker.on('message', (message: Message) => this.tell(message));
    worker.on('error', (error) => this.tell({ kind: 'failed', reason: error.stack ?? error.message }));
  }

  /** `worker` works for the thread: the thread is gone when both are, and fails when it crashes. */
  attachHelper(worker: Worker): void {
    const gone = new Promise((resolve) => worker.once('exit', resolve));
    this.#gone = Promise.all([this.#gone, gone]);
    worker.on('error', (error) => this.tell({ kind: 'failed', reason: error.stack ?? error.message }));
  }

  /** Resolves when the thread has ended, or when there is none. */
  get gone(): Promise<unknown> {
    return this.#gone;
  }

  /** Requests `what` and waits for no answer; returns the request's number. */
  abstract request(what: number): number;

  /**
   * Requests `what`; resolves with the answer to this very request. ETIMEDOUT; EIO when the thread
   * fails meanwhile.
   */
  protected ask(what: number, verb: string): Promise<Message> {
    return new Promise((resolve, reject) => {
      const number = this.request(what);
      const late = (): void => {
        this.#waiting.delete(number);
        reject(etimedout(`the ${this.#who} did not ${verb} within ${ANSWER_MS} ms`));
      };
      this.#waiting.set(number, { resolve, reject, timer: setTimeout(late, ANSWER_MS) });
    });
  }

  /**
   * Sleeps until the thread has answered the last request, at most so long; whoever asked has the
   * answer then. The message comes later, as ever. Only for the pause of an update: the event loop
   * stands meanwhile.
   */
  hearNow(withinMs: number): void {
    const number = this.#requests;
    if (!this.#waiting.has(number)) return;
    const answer = this.answered(number, withinMs);
    if (answer) this.#take(number)?.resolve(answer);
  }

  /** Sleeps until the shared words have the answer to this request, at most so long. */
  protected abstract answered(request: number, withinMs: number): Message | undefined;

  protected post(message: unknown): void {
    this.#worker?.postMessage(message);
  }

  /**
   * Puts a request into `word` and wakes the thread if it sleeps on that word; returns the
   * request's number.
   */
  protected put(control: Int32Array, word: number, what: number): number {
    this.#requests++;
    // pairs with the load in `obeyed`
    Atomics.store(control, word, requestWord(this.#requests, what));
    Atomics.notify(control, word);
    return this.#requests;
  }

  /** Adds a listener; returns the function that removes it. */
  listen(listener: (message: Message | Failed) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Takes a message of the thread, or of main in the thread's place. An answer first resolves its
   * request; then all listeners hear the message.
   */
  tell(message: Message | Failed): void {
    if (isFailed(message))
      for (const number of [...this.#waiting.keys()]) this.#take(number)?.reject(eio(message.reason));
    else if (message.request !== undefined) this.#take(message.request)?.resolve(message);
    for (const listener of this.#listeners) listener(message);
  }

  #take(number: number): Waiter<Message> | undefined {
    const waiter = this.#waiting.get(number);
    this.#waiting.delete(number);
    clearTimeout(waiter?.timer);
    return waiter;
  }
}

const isFailed = (message: Said | Failed): message is Failed => message.kind === 'failed';
