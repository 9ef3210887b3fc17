/** The built program as a user runs it, in an environment of its own whose leftovers can be seen. */
import { type ChildProcess, type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { programPath } from '../../tools/launch/programs.ts';

export interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export class Sandbox {
  readonly dir = mkdtempSync(join(tmpdir(), 'livevmm-test-'));
  readonly runtimeDir = join(this.dir, 'run');
  readonly tempDir = join(this.dir, 'tmp');

  readonly #ends = new Map<ChildProcess, Promise<unknown>>();

  constructor() {
    chmodSync(this.dir, 0o711); // for a client that is no longer root
    mkdirSync(this.runtimeDir, { mode: 0o700 });
    mkdirSync(this.tempDir);
  }

  start(...words: readonly string[]): ChildProcessWithoutNullStreams {
    return this.#spawn(process.execPath, [programPath('livevmm'), ...words]);
  }

  /** As start(), by a shell with this `ulimit -n`. */
  startWithFds(fds: number, ...words: readonly string[]): ChildProcessWithoutNullStreams {
    return this.startFrom(`ulimit -n ${fds}`, ...words);
  }

  /** As start(), by a shell that does `setting` before. */
  startFrom(setting: string, ...words: readonly string[]): ChildProcessWithoutNullStreams {
    const program = [process.execPath, programPath('livevmm'), ...words];
    return this.#spawn('/bin/sh', ['-c', `${setting} && exec "$@"`, 'sh', ...program]);
  }

  #spawn(file: string, words: readonly string[]): ChildProcessWithoutNullStreams {
    const env = { ...process.env, XDG_RUNTIME_DIR: this.runtimeDir, TMPDIR: this.tempDir };
    const child = spawn(file, words, { env });
    this.#ends.set(child, once(child, 'close'));
    return child;
  }

  /** Asks a child to end, if it still runs, and waits until it has. */
  async end(child: ChildProcess): Promise<void> {
    child.kill('SIGTERM');
    await this.#ends.get(child);
  }

  /** Runs the program to its end. */
  async run(...words: readonly string[]): Promise<Ended> {
    const child = this.start(...words);
    child.stdin.end();
    return outcome(child);
  }

  /** Files and sockets that are there now. */
  leftovers(): string[] {
    const here = (dir: string): string[] =>
      readdirSync(dir, { recursive: true, withFileTypes: true, encoding: 'utf8' })
        .filter((entry) => !entry.isDirectory())
        .map(({ name }) => name);
    return [...here(this.runtimeDir), ...readdirSync(this.tempDir)];
  }

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** What a process printed from now on, and how it ended. */
export async function outcome(child: ChildProcessWithoutNullStreams): Promise<Ended> {
  const texts = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk) => {
    texts.stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    texts.stderr += chunk;
  });
  const isClosed = (child.exitCode ?? child.signalCode) !== null && child.stdout.closed && child.stderr.closed;
  if (!isClosed) await once(child, 'close');
  return { status: child.exitCode, ...texts };
}

/** The first line of stdout. */
export async function firstLine(child: ChildProcessWithoutNullStreams): Promise<string> {
  let text = '';
  for await (const chunk of child.stdout.iterator({ destroyOnReturn: false })) {
    text += chunk;
    if (text.includes('\n')) break;
  }
  return text.split('\n', 1)[0]!;
}
