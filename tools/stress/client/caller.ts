/**
 * System calls of an actor: each in the event log, each answered by a number or an errno that
 * somebody expects.
 */
import { SysError } from '../../../platform/errno.ts';
import { KernelClient } from '../../../vmm/client/kernel-client.ts';
import type { EventLog } from '../event-log.ts';
import { Violation } from '../invariants.ts';

/** What a call returned: ≥ 0, or the name of an errno. */
export type Answer = number | string;

/** A system call. Where it returns nothing, its answer is 0. */
export type Call = ((client: KernelClient) => number) | ((client: KernelClient) => void);

/** The host's words for a bug of its own (iommu/kernel/entry/channel.ts). */
const INTERNAL_ERROR = 'internal error of the host';

export class Caller {
  readonly client: KernelClient;
  readonly log: EventLog;

  constructor(socketPath: string, log: EventLog) {
    this.log = log;
    this.client = new KernelClient(socketPath);
  }

  /** Makes a call and takes its answer as it is. `text` says what it is. */
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
      return error.code;
    }
  }

  /** A call that must be answered in one of these ways. */
  expect(text: string, expected: Answer | readonly Answer[], call: Call): Answer {
    const answer = this.try(text, call);
    const allowed = Array.isArray(expected) ? (expected as readonly Answer[]) : [expected as Answer];
    if (!allowed.includes(answer)) throw new Violation('answer', `${text}: ${answer}, not ${allowed.join(' or ')}`);
    if (typeof answer === 'string') this.log.count('refusals');
    return answer;
  }

  /** A call that must succeed; what it returned. */
  must(text: string, call: Call): number {
    const answer = this.try(text, call);
    if (typeof answer === 'string') throw new Violation('answer', `${text}: ${answer}`);
    return answer;
  }
}
