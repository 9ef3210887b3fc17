/**
 * Preflight, the old image's side: it starts the successor beside the running guest and asks it.
 * The successor starts as it will for the update: by the same node, from the same snapshot, within
 * the same limits. So anything that it could not do in the update fails now.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';

import { einval } from '../../platform/errno.ts';
import { PREFLIGHT } from './preflight-option.ts';
import { PREFLIGHT_REPORT, type PreflightReport } from './preflight-report.ts';
import { fromSnapshot, nodeOptions } from './prepared-snapshot.ts';
import { successorEnv } from './successor-env.ts';

/** The successor answers in 0.3 s. It takes several seconds on a busy machine. */
const TIMEOUT_MS = 10_000;
/** Most bytes that a program which is no successor may write. */
const MAX_OUTPUT = 1 << 20;
/** Fds in the successor: the snapshot, and the manifest. */
const SNAPSHOT_FD = 3;
const MANIFEST_FD = 4;

export interface Candidate {
  readonly node: string;
  readonly entry: string;
  /** undefined: the successor starts from `entry` itself. */
  readonly snapshotFd: number | undefined;
}

/** EINVAL: the successor does not answer; the message says what it wrote instead. */
export async function askSuccessor(
  { node, entry, snapshotFd }: Candidate,
  manifestFd: number,
): Promise<PreflightReport> {
  const start = snapshotFd === undefined ? [] : fromSnapshot(SNAPSHOT_FD);
  const words = [...nodeOptions(), ...start, entry, PREFLIGHT, String(MANIFEST_FD)];
  const child = spawn(node, words, {
    stdio: ['ignore', 'pipe', 'pipe', snapshotFd ?? 'ignore', manifestFd],
    env: successorEnv(),
    timeout: TIMEOUT_MS,
    killSignal: 'SIGKILL',
  });
  const output = collect(child, 'stdout');
  const errors = collect(child, 'stderr');
  const end = await ended(child);
  try {
    return PREFLIGHT_REPORT(JSON.parse(await output), 'answer');
  } catch {
    const words = lastWords(await errors);
    throw einval(`the successor does not answer: it ${end}${words === undefined ? '' : `, saying "${words}"`}`);
  }
}

/** The line that names the error, out of all that node writes about it; else the last line. */
function lastWords(errors: string): string | undefined {
  const lines = errors.split('\n').filter((line) => line.trim() !== '');
  return lines.find((line) => /^\w*Error\b/.test(line)) ?? lines.at(-1);
}

/** Tells in words how the child ended. */
async function ended(child: ChildProcess): Promise<string> {
  const stop = (): boolean => child.kill('SIGKILL');
  process.once('exit', stop);
  try {
    const [status, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
    if (child.killed) return `took longer than ${TIMEOUT_MS / 1000} s`;
    return signal === null ? `ended with status ${status}` : `was ended by ${signal}`;
  } catch (error) {
    return `cannot be started (${(error as NodeJS.ErrnoException).code})`;
  } finally {
    process.removeListener('exit', stop);
  }
}

async function collect(child: ChildProcess, stream: 'stdout' | 'stderr'): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  child[stream]!.on('error', () => {}); // 'close' follows
  child[stream]!.on('data', (chunk: Buffer) => {
    length += chunk.length;
    if (length <= MAX_OUTPUT) chunks.push(chunk);
    else child.kill('SIGKILL');
  });
  await once(child, 'close').catch(() => undefined); // `ended` tells
  return Buffer.concat(chunks).toString();
}
