/**
 * Answers the trapped system calls of a program and of all that it starts, one after the other, in
 * one thread that sleeps in poll(2). Calls that wait for the emulated kernel wait side by side.
 */

import type { Reply, Request } from '../../../iommu/abi/wire.ts';
import { errnoNumber, SysError } from '../../../platform/errno.ts';
import { close } from '../../../platform/libc/fd.ts';
import { POLLHUP, POLLIN, poll } from '../../../platform/libc/poll.ts';
import { Listener, type TrappedCall } from '../../../platform/seccomp/listener.ts';
import { type Notes, noteRequest } from '../trace/notes.ts';
import { MemoryOfCall } from './caller-memory.ts';
import { type Answer, type Call, type Carried, type GivenFd, hasSteps, type Steps } from './steps.ts';
import { type ProgramThread, ProgramThreads } from './threads.ts';

/** Begins a call. */
export type Carry = (nr: number, call: Call, threads: ProgramThreads) => Carried;

/** A call that has no answer yet. With `notes`, it is traced. */
interface UnderWay {
  readonly call: TrappedCall;
  readonly notes?: Notes;
  readonly startMs: number;
}

/** A call whose request the kernel has. */
interface Waiting {
  readonly underWay: UnderWay;
  readonly steps: Steps;
  readonly request: Request;
}

const NO_REPLY: Reply = { ret: 0 };
/** Errnos that say that there is no host. */
const GONE = ['EPIPE', 'ECONNREFUSED'];

export interface SupervisorOptions {
  /** Where trapped calls arrive. */
  readonly listener: number;
  /** A fd: the supervisor ends when it is readable. */
  readonly stop: number;
  /** Where the host listens. */
  readonly socketPath: string;
  readonly carry: Carry;
  /** Gets a line about a bug of ours. */
  readonly report: (line: string) => void;
  /**
   * Is told of each call that is over, before the program goes on. Absent when nobody wants to
   * know.
   */
  readonly trace?: Trace;
}

/** A call that is over. */
export interface TracedCall {
  readonly tid: number;
  readonly nr: number;
  /** What the program gets: a result ≥ 0, or −errno. */
  readonly result: number;
  readonly microseconds: number;
  readonly notes: Notes;
}

export type Trace = (over: TracedCall) => void;

export class Supervisor {
  readonly #listener: Listener;
  readonly #stop: number;
  readonly #carry: Carry;
  readonly #threads: ProgramThreads;
  readonly #report: (line: string) => void;
  readonly #trace: Trace | undefined;
  readonly #waiting = new Map<ProgramThread, Waiting>();

  constructor({ listener, stop, socketPath, carry, report, trace }: SupervisorOptions) {
    this.#listener = new Listener(listener);
    this.#stop = stop;
    this.#carry = carry;
    this.#threads = new ProgramThreads(socketPath);
    this.#report = report;
    this.#trace = trace;
  }

  /** Until nobody with the filter is left, or it is stopped. */
  run(): void {
    while (this.#round());
    for (const thread of [...this.#threads.all()]) this.#forget(thread);
  }

  /**
   * Waits for events and handles them. Threads that have ended come first: poll has seen them no
   * later than a call of a thread that has got the same number since.
   */
  #round(): boolean {
    const threads = [...this.#threads.all()];
    const fds = [this.#listener.fd, this.#stop, ...threads.flatMap(({ pidfd, socket }) => [pidfd, socket])];
    // Woken by a call, a reply, the end of a thread, of the last process, or of us.
    const events = poll(
      fds.map((fd) => ({ fd, events: POLLIN })),
      -1,
    );
    if (!events) return true; // a signal
    if (events[1] !== 0) return false;
    threads.forEach((thread, i) => {
      if (events[2 + 2 * i] !== 0) this.#forget(thread);
      else if (events[3 + 2 * i] !== 0) this.#replied(thread);
    });
    if ((events[0]! & POLLIN) !== 0) this.#trapped();
    return (events[0]! & POLLHUP) === 0;
  }

  #forget(thread: ProgramThread): void {
    this.#waiting.delete(thread);
    this.#threads.forget(thread);
  }

  #trapped(): void {
    const call = this.#listener.receive();
    if (!call) return;
    this.#threads.calls(call.tid, (thread) => this.#isBusy(thread));
    const { tid, nr, args } = call;
    const memory = new MemoryOfCall(this.#listener, call);
    const traced: { notes?: Notes } = this.#trace ? { notes: { asked: [] } } : {};
    const underWay = { call, startMs: this.#trace ? performance.now() : 0, ...traced };
    this.#guarded(underWay, () => {
      const carried = this.#carry(nr, { tid, args, memory, ...traced }, this.#threads);
      if (hasSteps(carried)) this.#advance(underWay, carried, NO_REPLY);
      else this.#answer(underWay, carried);
    });
  }

  /** The thread is in the middle of a call, and alive. */
  #isBusy(thread: ProgramThread): boolean {
    const waiting = this.#waiting.get(thread);
    return waiting !== undefined && this.#listener.waits(waiting.underWay.call);
  }

  #replied(thread: ProgramThread): void {
    const waiting = this.#waiting.get(thread);
    let reply: Reply | undefined;
    try {
      reply = thread.receive();
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      this.#forget(thread); // the host is gone, or has had enough of us
      if (waiting) this.#refuse(waiting.underWay, 'EIO');
      return;
    }
    if (!reply || !waiting) return;
    this.#waiting.delete(thread);
    const { underWay, steps, request } = waiting;
    const answer = reply;
    if (underWay.notes) noteRequest(underWay.notes, request, reply);
    this.#guarded(underWay, () => this.#advance(underWay, steps, answer));
  }

  /** Goes on with a call up to its next request or its answer. */
  #advance(underWay: UnderWay, steps: Steps, first: Reply): void {
    for (let reply = first; ; ) {
      const { done, value } = steps.next(reply);
      if (done) {
        this.#answer(underWay, value);
        return;
      }
      const thread = this.#threads.enter(underWay.call.tid);
      const atOnce = thread.send(value);
      if (!atOnce) {
        this.#waiting.set(thread, { underWay, steps, request: value });
        return;
      }
      reply = atOnce;
      if (underWay.notes) noteRequest(underWay.notes, value, reply);
    }
  }

  /** Does `work` for a call. What it throws is the call's errno; a bug of ours is EIO, and told. */
  #guarded(underWay: UnderWay, work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof SysError)) this.#report(`system call ${underWay.call.nr}: ${(error as Error).stack}`);
      const code = error instanceof SysError && !GONE.includes(error.code) ? error.code : 'EIO';
      this.#refuse(underWay, code);
    }
  }

  #answer(underWay: UnderWay, answer: Answer): void {
    const { call } = underWay;
    if (answer === 'go on') {
      this.#listener.goOn(call);
      return;
    }
    if (typeof answer === 'number') {
      this.#over(underWay, answer);
      this.#listener.answer(call, answer);
      return;
    }
    try {
      this.#giveFd(underWay, answer);
    } finally {
      close(answer.fd);
    }
  }

  #giveFd(underWay: UnderWay, { fd, cloexec }: GivenFd): void {
    const { call, notes } = underWay;
    if (!notes) {
      this.#listener.answerFd(call, fd, cloexec);
      return;
    }
    const given = this.#listener.addFd(call, fd, cloexec);
    if (given === undefined) return; // it has been killed
    this.#over(underWay, given);
    this.#listener.answer(call, given);
  }

  #refuse(underWay: UnderWay, code: string): void {
    this.#over(underWay, -errnoNumber(code));
    this.#listener.refuse(underWay.call, errnoNumber(code));
  }

  #over({ call, notes, startMs }: UnderWay, result: number): void {
    if (!notes) return;
    const microseconds = (performance.now() - startMs) * 1000;
    this.#trace?.({ tid: call.tid, nr: call.nr, result, microseconds, notes });
  }
}
