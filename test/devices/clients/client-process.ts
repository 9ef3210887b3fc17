/**
 * A client of a host as a real process: runs one of the scripts beside this file, which says JSON
 * values, one per line.
 */
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { Child } from '../../../tools/launch/child.ts';

export interface LaunchedScript {
  readonly name: string;
  readonly launcher: readonly string[];
}

export class ClientProcess {
  readonly #child: Child;
  readonly #lines: AsyncIterator<string>;
  /** Status and signal it ended with. */
  readonly ended: Promise<[number | null, NodeJS.Signals | null]>;

  /** `script`: its name, or that and a program that runs programs, with its words. */
  constructor(script: string | LaunchedScript, ...words: readonly string[]) {
    const { launcher, name } = typeof script === 'string' ? { launcher: [], name: script } : script;
    const path = fileURLToPath(new URL(`./${name}.ts`, import.meta.url));
    const argv = [...launcher, process.execPath, '--import', 'tsx', path, ...words];
    this.#child = new Child({ name: `the client ${name}`, argv, detached: false });
    this.ended = this.#child.closed.then(({ status, signal }) => [status, signal]);
    this.#lines = createInterface(this.#child.stdout)[Symbol.asyncIterator]();
  }

  /** The next value it says. */
  async says(): Promise<unknown> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`the client has ended: ${this.#child.errors}`);
    return JSON.parse(value);
  }

  /** Lets it go on where it waits. */
  goOn(): void {
    this.#child.stdin.write('\n');
  }

  /** Ends it if it still runs. */
  async end(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.ended;
  }
}
