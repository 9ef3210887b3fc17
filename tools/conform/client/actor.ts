/**
 * An actor: a thread or a process that carries out steps besides the main thread. It does one step
 * at a time, and its answer waits until somebody asks for it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { State } from '../steps/state.ts';
import type { ActorReply, ActorRequest, Holdings } from './protocol.ts';

/** The channel to an actor that runs in another thread or process. */
export interface ActorLink {
  send(request: ActorRequest): void;
  /** Called once per request, in order. */
  onReply: (reply: ActorReply) => void;
  /** Tid of the thread that carries out the requests. */
  readonly tid: number;
}

/** Whether a thread sleeps inside a call of the emulated kernel. */
export type SleepCheck = (tid: number) => boolean;

/** How long an actor may take to get into the kernel and back on a busy machine. */
const GRACE_MS = 10_000;
const LOOK_AGAIN_MS = 2;

export class Actor {
  readonly #link: ActorLink;
  /**
   * Receives the changes of a thread: the main thread's own state. Undefined for another process.
   */
  readonly #shared: Pick<State, 'apply'> | undefined;
  #running: Promise<ActorReply> | undefined;
  #settle: (reply: ActorReply) => void = () => {};

  constructor(link: ActorLink, shared: Pick<State, 'apply'> | undefined) {
    this.#link = link;
    this.#shared = shared;
    link.onReply = (reply) => {
      for (const change of reply.changes) this.#shared?.apply(change);
      this.#settle(reply);
    };
  }

  /** Starts a step. An earlier step ends first. */
  async start(request: ActorRequest): Promise<void> {
    await this.#running;
    this.#running = new Promise((resolve, reject) => {
      this.#settle = (reply) => (reply.failure === undefined ? resolve(reply) : reject(new Error(reply.failure)));
    });
    this.#running.catch(() => {}); // answer() reports the error
    this.#link.send(request);
  }

  /**
   * The answer to the last started step. It can be taken once; after that the answer is `idle`. The
   * answer is `blocked` when there is none in time and the actor's call sleeps in the kernel. A
   * late answer alone does not mean `blocked`.
   */
  async answer(timeoutMs: number, sleeps: SleepCheck): Promise<string> {
    if (!this.#running) return 'idle';
    const giveUp = Date.now() + timeoutMs + GRACE_MS;
    for (let patienceMs = timeoutMs; ; patienceMs = LOOK_AGAIN_MS) {
      const reply = await this.#within(this.#running, patienceMs);
      if (reply) {
        this.#running = undefined;
        return reply.answer;
      }
      if (sleeps(this.#link.tid)) return 'blocked';
      if (Date.now() > giveUp) return 'no answer, and not asleep in the kernel';
    }
  }

  /** What the actor holds, after its last step. That step must not sleep. */
  async holdings(): Promise<Holdings> {
    await this.start({ tell: true });
    const reply = await this.#within(this.#running!, GRACE_MS);
    this.#running = undefined;
    if (!reply?.holdings) throw new Error('an actor does not tell what it holds');
    return reply.holdings;
  }

  /** The reply, or undefined when it takes longer than `timeoutMs`. */
  async #within(running: Promise<ActorReply>, timeoutMs: number): Promise<ActorReply | undefined> {
    const timer = new AbortController();
    const late = delay(timeoutMs, undefined, { signal: timer.signal }).catch(() => undefined);
    const reply = await Promise.race([running, late]);
    timer.abort();
    return reply;
  }

  /** Takes note that the actor has ended and will not answer. */
  ended(): void {
    this.#running = undefined;
  }
}
