/** Starts shared-memory-program.ts and talks to it. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { onTestFinished } from 'vitest';

const PROGRAM = fileURLToPath(new URL('./shared-memory-program.ts', import.meta.url));

/** A process whose first image's memory another process shares. Both end with the test. */
export class SharedMemory {
  readonly #folder = mkdtempSync(join(tmpdir(), 'livevmm-shared-'));
  readonly #fifo = join(this.#folder, 'fifo');
  readonly #process: ChildProcess;

  private constructor(under: readonly string[]) {
    execFileSync('mkfifo', [this.#fifo]);
    const words = [...under, process.execPath, '--import', 'tsx', PROGRAM, this.#fifo, 'first'];
    this.#process = spawn(words[0]!, words.slice(1), { stdio: ['pipe', 'pipe', 'inherit'] });
    onTestFinished(() => {
      this.#process.kill('SIGKILL');
      this.unshare();
      rmSync(this.#folder, { recursive: true });
    });
  }

  /** `under`: a command that is to start the process. Resolves when its memory is shared. */
  static async start(under: readonly string[] = []): Promise<SharedMemory> {
    const started = new SharedMemory(under);
    await started.#ready();
    return started;
  }

  get pid(): number {
    return this.#process.pid!;
  }

  /** Resolves when the next image runs. */
  async exec(): Promise<void> {
    const ready = this.#ready();
    this.#process.stdin!.write('\n');
    await ready;
  }

  /** Lets the other process end. It does so soon. */
  unshare(): void {
    closeSync(openSync(this.#fifo, constants.O_RDWR | constants.O_NONBLOCK));
  }

  async #ready(): Promise<void> {
    await once(this.#process.stdout!, 'data');
  }
}
