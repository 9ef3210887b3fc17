/** Runs tests of a tree by vitest, in a process of its own, and reads the result of each test. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** Far more than any test file takes. */
const LIMIT_MS = 600_000;
/** Bounds of the limit of a test or hook. The upper one holds where nothing else is known. */
const LEAST_LIMIT_MS = 10_000;
const MOST_LIMIT_MS = 60_000;
/** The machine may be that many times as busy as it was without the defect. */
const BUSIER = 4;
const REPORT = '.mutants-report.json';

export interface TestResult {
  readonly name: string;
  readonly passed: boolean;
  readonly message: string;
  readonly seconds: number;
}

export interface TestRun {
  /** Of the tests that ran; skipped ones are left out. */
  readonly tests: readonly TestResult[];
  /** What vitest said when the file could not be run, or did not end. */
  readonly trouble: string;
  readonly seconds: number;
}

interface Report {
  readonly testResults: readonly {
    readonly message: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly failureMessages: readonly string[];
      /** Milliseconds. */
      readonly duration?: number;
    }[];
  }[];
}

export interface TestOptions {
  readonly signal?: AbortSignal;
  /** How long one test may take. */
  readonly testMs?: number;
  /** How long one hook may take. */
  readonly hookMs?: number;
}

/**
 * How long may take with a defect what took so long without it. Many a defect shows by something
 * that never comes, and the suite's own patience is for busy machines.
 */
export const patienceAfter = (seconds: number): number =>
  Math.min(MOST_LIMIT_MS, Math.max(LEAST_LIMIT_MS, Math.ceil(BUSIER * seconds * 1000)));

/** The tests of `file` that have one of `names` in their name. */
export async function runTests(
  root: string,
  file: string,
  names: readonly string[],
  { signal, testMs = MOST_LIMIT_MS, hookMs = MOST_LIMIT_MS }: TestOptions = {},
): Promise<TestRun> {
  const pattern = names.map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|');
  const start = performance.now();
  const path = join(root, REPORT);
  rmSync(path, { force: true });
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  const words = [vitest, 'run', file, '-t', pattern, '--reporter=json', `--outputFile.json=${path}`];
  words.push(`--testTimeout=${testMs}`, `--hookTimeout=${hookMs}`, '--bail=1');
  // A group of its own: what a stuck test has started ends with it.
  const child = spawn(process.execPath, words, { cwd: root, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-4000);
    });
  }
  const limit = AbortSignal.timeout(LIMIT_MS);
  const stop = AbortSignal.any(signal ? [limit, signal] : [limit]);
  const kill = (): boolean => process.kill(-child.pid!, 'SIGKILL');
  stop.addEventListener('abort', kill);
  await once(child, 'close');
  stop.removeEventListener('abort', kill);
  const seconds = (performance.now() - start) / 1000;
  if (stop.aborted) return { tests: [], trouble: `no end within ${LIMIT_MS / 1000} s`, seconds };
  return { ...readReport(path, output), seconds };
}

function readReport(path: string, output: string): Pick<TestRun, 'tests' | 'trouble'> {
  let report: Report;
  try {
    report = JSON.parse(readFileSync(path, 'utf8')) as Report;
  } catch {
    return { tests: [], trouble: output || 'vitest wrote no report' };
  }
  const tests = report.testResults.flatMap(({ assertionResults }) =>
    assertionResults
      .filter(({ status }) => status === 'passed' || status === 'failed')
      .map(({ fullName, status, failureMessages, duration = 0 }) => ({
        name: fullName,
        seconds: duration / 1000,
        passed: status === 'passed',
        message: howItFailed(failureMessages.join('\n')),
      })),
  );
  const trouble = report.testResults.map(({ message }) => message).find((message) => message !== '') ?? '';
  return { tests, trouble };
}

/** The first line. Of a time-out vitest's report has only the stack, under a name of its own. */
export const howItFailed = (text: string): string =>
  text.startsWith('Error: STACK_TRACE_ERROR') ? 'timed out' : text.split('\n', 1)[0]!.trim();
