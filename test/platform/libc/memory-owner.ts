/** Starts memory-holder-owner.ts and talks to it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { expect, onTestFinished } from 'vitest';

import type { MemoryHolder } from '../../../platform/libc/memory-holder.ts';

const OWNER = fileURLToPath(new URL('./memory-holder-owner.ts', import.meta.url));

const WORD_LENGTH = 60;

/** A process that has a holder; it ends with the test. */
export class Owner {
  readonly process: ChildProcess;
  readonly #lines: Interface;

  /** `under`: a command that is to start it. */
  constructor(word: 'full' | '' = '', under: readonly string[] = []) {
    const [command, ...args] = [...under, process.execPath, '--import', 'tsx', OWNER, word.padEnd(WORD_LENGTH)];
    this.process = spawn(command!, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.process.stdout! });
    onTestFinished(() => void this.process.kill('SIGKILL'));
  }

  get pid(): number {
    return this.process.pid!;
  }

  async says(): Promise<unknown> {
    const [line] = await once(this.#lines, 'line');
    return JSON.parse(line as string);
  }

  async does(word: 'end' | 'exec'): Promise<void> {
    const done = this.says();
    this.process.stdin!.write(`${word}\n`);
    expect(await done).toBe('done');
  }

  async holder(): Promise<MemoryHolder> {
    return (await this.says()) as MemoryHolder;
  }
}
