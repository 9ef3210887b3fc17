/** The demo guest's console: one-letter commands in, `@stats {…}` and `@final {…}` lines out (guest/programs/demo.c). */
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';

import { CommandError } from '../command.ts';
import type { GuestFacts } from './facts.ts';

const REPORT = /^@(stats|final) (\{.*\})$/;

type Kind = 'stats' | 'final';

export class GuestConsole {
  readonly #input: Writable;
  readonly #waiting: { readonly kind: Kind; readonly resolve: (facts: GuestFacts) => void }[] = [];
  #greet: (line: string) => void = () => {};
  /** The guest's first line, which names the devices it found. */
  readonly greeting = new Promise<string>((resolve) => {
    this.#greet = resolve;
  });

  constructor(output: Readable, input: Writable) {
    this.#input = input;
    input.on('error', () => {}); // the VMM is gone: whoever waits for an answer is told by its time-out or by 'exit'
    createInterface({ input: output }).on('line', (line) => this.#take(line.trimEnd()));
  }

  #take(line: string): void {
    const match = REPORT.exec(line);
    if (!match) {
      this.#greet(line);
      return;
    }
    const facts = JSON.parse(match[2]!) as GuestFacts;
    const index = this.#waiting.findIndex(({ kind }) => kind === match[1]);
    if (index >= 0) this.#waiting.splice(index, 1)[0]!.resolve(facts);
  }

  /** 's': its counts so far. */
  stats(timeoutMs: number): Promise<GuestFacts> {
    return this.#ask('s', 'stats', timeoutMs);
  }

  /** 'q': stops its devices, checks what is left in the rings, gives its last counts. */
  final(timeoutMs: number): Promise<GuestFacts> {
    return this.#ask('q', 'final', timeoutMs);
  }

  #ask(letter: string, kind: Kind, timeoutMs: number): Promise<GuestFacts> {
    return new Promise((resolve, reject) => {
      const waiting = {
        kind,
        resolve: (facts: GuestFacts) => {
          clearTimeout(timer);
          resolve(facts);
        },
      };
      const timer = setTimeout(() => {
        this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
        reject(new CommandError(`the guest did not answer '${letter}' within ${timeoutMs} ms`));
      }, timeoutMs).unref();
      this.#waiting.push(waiting);
      this.#input.write(letter);
    });
  }
}
