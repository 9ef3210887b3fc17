/** Starts vm-child.mjs and talks to it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export interface Mappings {
  readonly memfd: number;
  /** 4 pages of the memfd from its third page on, shared. */
  readonly shared: number;
  /** 2 pages, private and anonymous. */
  readonly private: number;
  /** 1 page of the memfd, shared, not writable. */
  readonly readOnly: number;
}

export class VmChild {
  readonly #process: ChildProcess;
  readonly #lines: Interface;
  readonly #exited: Promise<unknown>;

  private constructor(process: ChildProcess) {
    this.#process = process;
    this.#lines = createInterface({ input: process.stdout! });
    this.#exited = new Promise((resolve) => process.once('exit', resolve));
  }

  static async start(): Promise<{ child: VmChild; at: Mappings }> {
    const script = fileURLToPath(new URL('./vm-child.mjs', import.meta.url));
    const child = new VmChild(spawn(process.execPath, [script], { stdio: ['pipe', 'pipe', 'inherit'] }));
    return { child, at: JSON.parse(await child.#line()) as Mappings };
  }

  get pid(): number {
    return this.#process.pid!;
  }

  async tell(word: 'poke' | 'exec'): Promise<void> {
    this.#process.stdin!.write(`${word}\n`);
    await this.#line();
  }

  async kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#exited;
  }

  #line(): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#lines.once('line', resolve);
      this.#exited.then(() => reject(new Error('the child is gone')));
    });
  }
}
