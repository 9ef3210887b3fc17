/** Who carries out steps besides the main thread. One step at a time; its answer waits until it is asked for. */
import { setTimeout as delay } from 'node:timers/promises';

import type { ActorReply, ActorRequest } from './protocol.ts';
import type { State } from './state.ts';

/** The channel to an actor that runs elsewhere. */
export interface ActorLink {
  send(request: ActorRequest): void;
  /** Called once per request, in order. */
  onReply: (reply: ActorReply) => void;
}

export class Actor {
  readonly #link: ActorLink;
  /** Where its changes go: the main thread's own state for a thread, nowhere for another process. */
  readonly #shared: State | undefined;
  #running: Promise<string> | undefined;
  #settle: (answer: string) => void = () => {};

  constructor(link: ActorLink, shared: State | undefined) {
    this.#link = link;
    this.#shared = shared;
    link.onReply = ({ answer, changes }) => {
      for (const change of changes) this.#shared?.apply(change);
      this.#settle(answer);
    };
  }

  /** Starts a step; a former one comes to its end first. */
  async start(request: ActorRequest): Promise<void> {
    await this.#running;
    this.#running = new Promise((resolve) => {
      this.#settle = resolve;
    });
    this.#link.send(request);
  }

  /** The answer to the step it was started with, once; `idle` when that was taken, `blocked` when there is none in time. */
  async answer(timeoutMs: number): Promise<string> {
    if (!this.#running) return 'idle';
    const timer = new AbortController();
    const late = delay(timeoutMs, 'blocked', { signal: timer.signal }).catch(() => 'blocked');
    const answer = await Promise.race([this.#running, late]);
    timer.abort();
    if (answer !== 'blocked') this.#running = undefined;
    return answer;
  }

  /** It has ended and will not answer. */
  ended(): void {
    this.#running = undefined;
  }
}
