/**
 * A guest's console: one-letter commands in, `@stats {…}` and `@final {…}` lines out
 * (guest/programs/demo.c, peer.c).
 */
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';

import { CommandError } from '../cli/command.ts';
import { OutputEnded } from './child.ts';

/** What each guest counts, and prints on its console as `@stats {…}` or `@final {…}`. */
export interface FrameFacts {
  readonly heartbeats: number;
  readonly framesChecked: number;
  readonly framesLost: number;
  readonly framesCorrupt: number;
  readonly interrupts: number;
  readonly spurious: number;
}

/** The counts of the demo guest. */
export interface GuestFacts extends FrameFacts {
  readonly factorialsOk: number;
  readonly factorialsBad: number;
  readonly dmaRoundTripsOk: number;
  readonly dmaRoundTripsBad: number;
  /** Frames that have been written and not yet checked. */
  readonly framesPending: number;
  /** Copy engines, and jobs of theirs that ended right and wrong. */
  readonly mscribes: number;
  readonly mscribeOk: number;
  readonly mscribeBad: number;
  /** Jobs that were done without their interrupt. */
  readonly interruptsLost: number;
}

const REPORT = /^@(stats|final) (\{.*\})$/;

type Kind = 'stats' | 'final';

/** A caller that waits for the guest's next report of one kind. */
interface Waiting<F> {
  readonly kind: Kind;
  readonly resolve: (facts: F) => void;
  readonly reject: (reason: Error) => void;
}

const consoleEnded = (): Error => new OutputEnded("the guest's console has ended");

/** A promise with its resolve and reject functions (Promise.withResolvers, which Node 20 lacks). */
function settleable<T>() {
  let resolve: (value: T) => void = () => {};
  let reject: (reason: Error) => void = () => {};
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

/** `F`: what the guest counts. */
export class GuestConsole<F extends FrameFacts = GuestFacts> {
  readonly #input: Writable;
  #waiting: readonly Waiting<F>[] = [];
  #greet: (line: string) => void = () => {};
  #missed: (reason: Error) => void = () => {};
  #ended = false;
  /**
   * The guest's first line, which names the devices it found. Rejects when the console ends before.
   */
  readonly greeting = new Promise<string>((resolve, reject) => {
    this.#greet = resolve;
    this.#missed = reject;
  });

  constructor(output: Readable, input: Writable) {
    this.#input = input;
    input.on('error', () => {}); // the VMM is gone: the end of its output tells everybody who waits
    this.greeting.catch(() => {}); // for a reader who never asks for it
    createInterface({ input: output })
      .on('line', (line) => this.#take(line.trimEnd()))
      .on('close', () => this.#end());
  }

  #take(line: string): void {
    const match = REPORT.exec(line);
    if (!match) {
      this.#greet(line);
      return;
    }
    const facts = JSON.parse(match[2]!) as F;
    const first = this.#waiting.find(({ kind }) => kind === match[1]);
    if (!first) return;
    this.#forget(first);
    first.resolve(facts);
  }

  /** The VMM has closed its output: no answer comes any more. */
  #end(): void {
    this.#ended = true;
    this.#missed(consoleEnded());
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { reject } of waiting) reject(consoleEnded());
  }

  #forget(done: Waiting<F>): void {
    this.#waiting = this.#waiting.filter((one) => one !== done);
  }

  /** 's': asks for the counts so far. */
  stats(timeoutMs: number): Promise<F> {
    return this.#ask('s', 'stats', timeoutMs);
  }

  /**
   * 'q': asks the guest to stop its devices, check the rest of the rings and give its last counts.
   */
  final(timeoutMs: number): Promise<F> {
    return this.#ask('q', 'final', timeoutMs);
  }

  #ask(letter: string, kind: Kind, timeoutMs: number): Promise<F> {
    if (this.#ended) return Promise.reject(consoleEnded());
    const { promise, resolve, reject } = settleable<F>();
    const waiting: Waiting<F> = { kind, resolve, reject };
    const timer = setTimeout(() => {
      this.#forget(waiting);
      reject(new CommandError(`the guest did not answer '${letter}' within ${timeoutMs} ms`));
    }, timeoutMs).unref();
    this.#waiting = [...this.#waiting, waiting];
    this.#input.write(letter);
    return promise.finally(() => clearTimeout(timer));
  }
}
