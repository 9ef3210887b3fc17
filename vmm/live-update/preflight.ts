/**
 * Preflight, the old image's side: it starts the successor beside the running guest and asks it.
 * The successor starts as it will for the update: by the same node, from the same snapshot, within
 * the same limits. So anything that it could not do in the update fails now.
 */
import { einval } from '../../platform/errno.ts';
import { fromSnapshot, nodeOptions } from './node-options.ts';
import { PREFLIGHT } from './preflight-option.ts';
import { PREFLIGHT_REPORT, type PreflightReport } from './preflight-report.ts';
import { runSuccessor } from './successor-run.ts';

/** Fds in the successor: the snapshot, and the manifest. */
const SNAPSHOT_FD = 3;
const MANIFEST_FD = 4;

export interface Candidate {
  readonly node: string;
  readonly entry: string;
  /** undefined: the successor starts from `entry` itself. */
  readonly snapshotFd: number | undefined;
}

export interface Answer {
  readonly report: PreflightReport;
  /**
   * From the start of the successor's process to the first line of its program. undefined: an
   * earlier build, which does not tell.
   */
  readonly startMs: number | undefined;
}

/** EINVAL: the successor does not answer; the message says what it wrote instead. */
export async function askSuccessor(
  { node, entry, snapshotFd }: Candidate,
  manifestFd: number,
  signal?: AbortSignal,
): Promise<Answer> {
  const start = snapshotFd === undefined ? [] : fromSnapshot(SNAPSHOT_FD);
  const words = [...nodeOptions(), ...start, entry, PREFLIGHT, String(MANIFEST_FD)];
  const stdio = ['ignore' as const, 'pipe' as const, 'pipe' as const, snapshotFd ?? ('ignore' as const), manifestFd];
  const { startNs, end, output, errors } = await runSuccessor(node, words, stdio, signal);
  try {
    const report = PREFLIGHT_REPORT(JSON.parse(output), 'answer');
    const { firstLineNs } = report;
    return { report, startMs: firstLineNs === undefined ? undefined : (firstLineNs - startNs) / 1e6 };
  } catch {
    const saying = lastWords(errors);
    throw einval(`the successor does not answer: it ${end}${saying === undefined ? '' : `, saying "${saying}"`}`);
  }
}

/** The line that names the error, out of all that node writes about it; else the last line. */
function lastWords(errors: string): string | undefined {
  const lines = errors.split('\n').filter((line) => line.trim() !== '');
  return lines.find((line) => /^\w*Error\b/.test(line)) ?? lines.at(-1);
}
