/**
 * Runs the successor's node beside the guest: to make a snapshot (prepared-snapshot.ts) and to ask
 * (preflight.ts). A run is bounded in time and output, and ends with this process.
 */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { getPriority, setPriority } from 'node:os';

import { monotonicNs } from '../../platform/clock.ts';
import { codeOf } from '../../platform/errno.ts';
import { nodeEnv } from '../../platform/node-env.ts';
import { limitTime } from './time-limit.ts';

/** A run takes some 0.5 s of its own. On a busy machine most of its time is waiting for a CPU. */
const LIMIT = { ownMs: 10_000, allMs: 60_000 };
/**
 * A run is nicer than the VMM by this much: on a CPU that both want, the guest gets three parts of
 * four. The run takes from the guest what it needs, some 0.4 s; nicer runs take it more slowly.
 */
const NICER = 5;
const NICEST = 19;
/** Most bytes that a program which is no successor may write. */
const MAX_OUTPUT = 1 << 20;

export interface SuccessorRun {
  /** CLOCK_MONOTONIC ns just before the program was started. */
  readonly startNs: number;
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
  const startNs = monotonicNs();
  if (signal?.aborted) return { startNs, succeeded: false, end: 'was cancelled', output: '', errors: '' };
  const child = spawn(node, words, { stdio, env: nodeEnv() });
  let reason: string | undefined;
  const kill = (why: string): void => {
    reason ??= why;
    child.kill('SIGKILL');
  };
  const withUs = (): void => kill('was ended with the VMM');
  const inTime = limitRun(child.pid, () => kill(`took longer than ${LIMIT.ownMs / 1000} s`));
  process.once('exit', withUs);
  const cancel = (): void => kill('was cancelled');
  signal?.addEventListener('abort', cancel);
  const tooMuch = (): void => kill(`wrote more than ${MAX_OUTPUT} bytes`);
  const [output, errors] = [collect(child.stdout, tooMuch), collect(child.stderr, tooMuch)];
  const { succeeded, end } = await ended(child);
  inTime();
  process.removeListener('exit', withUs);
  signal?.removeEventListener('abort', cancel);
  return { startNs, succeeded, end: reason ?? end, output: output(), errors: errors() };
}

/** Makes the run nice, and limits its time. Returns how to stop that. */
function limitRun(pid: number | undefined, late: () => void): () => void {
  if (pid === undefined) return () => {}; // it could not be started
  try {
    setPriority(pid, Math.min(getPriority() + NICER, NICEST));
  } catch {
    // it has ended, or its user is another one (a setuid program)
  }
  return limitTime(pid, LIMIT, late);
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
