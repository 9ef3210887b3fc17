/**
 * Runs the successor's node beside the guest: to make a snapshot (prepared-snapshot.ts) and to ask
 * (preflight.ts). A run is bounded in time and output, and ends with this process.
 */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';

import { codeOf } from '../../platform/errno.ts';
import { successorEnv } from './successor-env.ts';

/** A run takes some 0.5 s. It takes several seconds on a busy machine. */
const TIMEOUT_MS = 10_000;
/** Most bytes that a program which is no successor may write. */
const MAX_OUTPUT = 1 << 20;

export interface SuccessorRun {
  readonly succeeded: boolean;
  /** How it ended, in words that follow "it". */
  readonly end: string;
  /** What it wrote to stdout and stderr, where `stdio` has pipes for them. */
  readonly output: string;
  readonly errors: string;
}

/** Runs `node` with these words and fds. Never rejects. `signal` ends the run. */
export async function runSuccessor(
  node: string,
  words: readonly string[],
  stdio: StdioOptions,
  signal?: AbortSignal,
): Promise<SuccessorRun> {
  if (signal?.aborted) return { succeeded: false, end: 'was cancelled', output: '', errors: '' };
  const child = spawn(node, words, { stdio, env: successorEnv() });
  let reason: string | undefined;
  const kill = (why: string): void => {
    reason ??= why;
    child.kill('SIGKILL');
  };
  const withUs = (): void => kill('was ended with the VMM');
  const late = setTimeout(() => kill(`took longer than ${TIMEOUT_MS / 1000} s`), TIMEOUT_MS);
  process.once('exit', withUs);
  const cancel = (): void => kill('was cancelled');
  signal?.addEventListener('abort', cancel);
  const tooMuch = (): void => kill(`wrote more than ${MAX_OUTPUT} bytes`);
  const [output, errors] = [collect(child.stdout, tooMuch), collect(child.stderr, tooMuch)];
  const { succeeded, end } = await ended(child);
  clearTimeout(late);
  process.removeListener('exit', withUs);
  signal?.removeEventListener('abort', cancel);
  return { succeeded, end: reason ?? end, output: output(), errors: errors() };
}

function ended(child: ChildProcess): Promise<Pick<SuccessorRun, 'succeeded' | 'end'>> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve({ succeeded: false, end: `cannot be started (${codeOf(error)})` }));
    child.once('close', (status, signal) => {
      const end = signal === null ? `ended with status ${status}` : `was ended by ${signal}`;
      resolve({ succeeded: status === 0, end });
    });
  });
}

/** Collects what a stream says; the function returns it. */
function collect(stream: ChildProcess['stdout'], tooMuch: () => void): () => string {
  const chunks: Buffer[] = [];
  let length = 0;
  stream?.on('error', () => {}); // 'close' of the child follows
  stream?.on('data', (chunk: Buffer) => {
    length += chunk.length;
    if (length <= MAX_OUTPUT) chunks.push(chunk);
    else tooMuch();
  });
  return () => Buffer.concat(chunks).toString();
}
