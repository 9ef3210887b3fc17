/**
 * The built program as a user runs it, in an environment of its own whose leftovers can be seen.
 */
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import { Child } from '../../tools/launch/child.ts';
import { programArgv, programPath } from '../../tools/launch/programs.ts';

const livevmm = (...words: readonly string[]): string[] => [programPath('livevmm'), ...words];

export interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export class Sandbox {
  readonly dir = mkdtempSync(join(tmpdir(), 'livevmm-test-'));
  readonly runtimeDir = join(this.dir, 'run');
  readonly tempDir = join(this.dir, 'tmp');

  constructor() {
    chmodSync(this.dir, 0o711); // for a client that is no longer root
    mkdirSync(this.runtimeDir, { mode: 0o700 });
    mkdirSync(this.tempDir);
  }

  /** By name, as a shell does. */
  start(...words: readonly string[]): Child {
    return this.startAs(livevmm(...words));
  }

  /** As start(), but node is told the program. */
  startByNode(...words: readonly string[]): Child {
    return this.startAs(programArgv('livevmm', ...words));
  }

  /** As start(), by a shell with this `ulimit -n`. */
  startWithFds(fds: number, ...words: readonly string[]): Child {
    return this.startFrom(`ulimit -n ${fds}`, ...words);
  }

  /** As start(), by a shell that does `setting` before. */
  startFrom(setting: string, ...words: readonly string[]): Child {
    return this.startAs(['/bin/sh', '-c', `${setting} && exec "$@"`, 'sh', ...livevmm(...words)]);
  }

  /** Starts a program that becomes livevmm. */
  startAs(argv: readonly string[]): Child {
    const PATH = `${dirname(process.execPath)}:${process.env.PATH}`; // it finds our node
    const env = { ...process.env, PATH, XDG_RUNTIME_DIR: this.runtimeDir, TMPDIR: this.tempDir };
    return new Child({ name: 'livevmm', argv, env, detached: false });
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

/** What a process printed on stdout from now on, all that it said on stderr, and how it ended. */
export async function outcome(child: Child): Promise<Ended> {
  let stdout = '';
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  const { status } = await child.closed;
  return { status, stdout, stderr: child.errors };
}

/** The first line of stdout. */
export async function firstLine(child: Child): Promise<string> {
  let text = '';
  for await (const chunk of child.stdout.iterator({ destroyOnReturn: false })) {
    text += chunk;
    if (text.includes('\n')) break;
  }
  return text.split('\n', 1)[0]!;
}
