/**
 * System calls of an actor. Each call goes into the event log, and its answer must be a number or
 * one of the errnos that the actor expects.
 */
import { SysError } from '../../../platform/errno.ts';
import { KernelClient } from '../../../vmm/client/kernel-client.ts';
import type { EventLog } from '../event-log.ts';
import { Violation } from '../invariants.ts';

/** The answer to a call: a number ≥ 0, or the name of an errno. */
export type Answer = number | string;

/** A system call. A call that returns nothing is answered 0. */
export type Call = ((client: KernelClient) => number) | ((client: KernelClient) => void);

/** The host's message for a bug of its own (iommu/kernel/entry/channel.ts). */
const INTERNAL_ERROR = 'internal error of the host';

export class Caller {
  readonly client: KernelClient;
  readonly log: EventLog;
  /** What the kernel said to its last refusal. */
  #reason = '';

  constructor(socketPath: string, log: EventLog) {
    this.log = log;
    this.client = new KernelClient(socketPath);
  }

  /** Makes a call and returns any answer. `text` describes the call. */
  try(text: string, call: Call): Answer {
    const { log } = this;
    log.event(text);
    log.count('operations');
    const answer = this.#answer(call);
    log.add(` = ${answer}`);
    log.beat();
    return answer;
  }

  #answer(call: Call): Answer {
    try {
      return call(this.client) ?? 0;
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      if (error.code === 'EPIPE') throw new Violation('6', 'the host has hung up');
      if (error.message.includes(INTERNAL_ERROR)) throw new Violation('6', error.message);
      this.#reason = error.message;
      return error.code;
    }
  }

  /** The answer as a complaint has it: a refusal comes with the kernel's words. */
  #told(answer: Answer): string {
    return typeof answer === 'string' ? `${answer} (${this.#reason})` : String(answer);
  }

  /** Makes a call whose answer must be one of `expected`. */
  expect(text: string, expected: Answer | readonly Answer[], call: Call): Answer {
    const answer = this.try(text, call);
    const allowed = Array.isArray(expected) ? (expected as readonly Answer[]) : [expected as Answer];
    if (!allowed.includes(answer))
      throw new Violation('answer', `${text}: ${this.#told(answer)}, not ${allowed.join(' or ')}`);
    if (typeof answer === 'string') this.log.count('refusals');
    return answer;
  }

  /** Makes a call that must succeed, and returns its result. */
  must(text: string, call: Call): number {
    const answer = this.try(text, call);
    if (typeof answer === 'string') throw new Violation('answer', `${text}: ${this.#told(answer)}`);
    return answer;
  }
}
