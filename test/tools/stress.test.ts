import { readdirSync, readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { DEFECTS } from '../../tools/stress/defects.ts';
import { formatDocument, type StressDocument } from '../../tools/stress/report.ts';
import { inTurn } from '../turn.ts';
import { type Ended, outcome, Sandbox } from './livevmm-process.ts';

/** Real hosts, real clients, real execs and kills. */

let sandbox: Sandbox;
beforeEach(() => {
  sandbox = new Sandbox();
});
afterEach(() => sandbox.remove());

/** Processes of this run that are alive: an exec keeps the environment. */
function processes(): string[] {
  return readdirSync('/proc').filter(
    (pid) => /^\d+$/.test(pid) && environment(pid).includes(`TMPDIR=${sandbox.tempDir}\0`),
  );
}

function environment(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1');
  } catch {
    return ''; // it has just ended, or is somebody else's
  }
}

/** What it printed with --json, or everything where that is no document. */
function documentOf({ status, stdout, stderr }: Ended): StressDocument {
  try {
    return JSON.parse(stdout) as StressDocument;
  } catch {
    throw new Error(`status ${status}, and instead of a document:\n${stdout}\n${stderr}`);
  }
}

describe('livevmm stress', () => {
  it('explains itself on --help', async () => {
    const { status, stdout, stderr } = await sandbox.run('stress', '--help');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(/^Usage: livevmm stress /);
  });

  it('is clean, says so in one JSON document, and leaves nothing', async () => {
    const ended = await sandbox.run('stress', '--seconds', '5', '--seed', '1', '--workers', '1', '--json');
    const document = documentOf(ended);
    expect(document.verdict, formatDocument(document)).toBe('clean');
    const { status, stderr } = ended;
    expect({ status, stderr, failures: document.failures }).toEqual({ status: 0, stderr: '', failures: [] });
    expect(document).toMatchObject({ seed: 1, workers: 1, profile: '5.12', node: process.version });
    const { totals } = document;
    const least = Math.min(
      totals.maps,
      totals.unmaps,
      totals.garbage,
      totals.pagesChecked,
      totals.countsChecked,
      totals.rounds,
      totals.kernels,
      totals.kexecs,
    );
    expect(least).toBeGreaterThan(0);
    expect(sandbox.leftovers()).toEqual([]);
    expect(processes()).toEqual([]);
  });

  it.each(inTurn(Object.entries(DEFECTS), 3))('sees %s: invariant %s is broken', async (defect, invariant) => {
    const words = ['--seconds', '30', '--seed', '7', '--workers', '1', '--inject', defect];
    const ended = await sandbox.run('stress', ...words, '--json');
    const document = documentOf(ended);
    const { verdict, failures } = document;
    expect({ status: ended.status, verdict }, formatDocument(document)).toEqual({ status: 1, verdict: 'broken' });
    expect(failures, formatDocument(document)).toMatchObject([
      {
        seed: 7,
        invariant,
        replay: `livevmm stress --seed 7 --workers 1 --seconds 30 --profile 5.12 --inject ${defect}`,
      },
    ]);
    const times = failures[0]!.events.map(({ atMs }) => atMs);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(sandbox.leftovers()).toEqual([]);
    expect(processes()).toEqual([]);
  });

  it('prints for people the seed, what the clients did last, and how to see it again', async () => {
    const { stdout } = await sandbox.run('stress', '--seed', '9', '--workers', '1', '--inject', 'forget-invalid');
    expect(stdout, stdout).toMatch(
      /^BROKEN, invariant 3: .*\n {2}mapper: invalid entries: 1, not 0\nlast events with seed 9/,
    );
    expect(stdout).toMatch(/\n +-\d+\.\d+ {2}mapper +UNMAP 0x[0-9a-f]+\+0x10000 flags 4 = 16\n/);
    expect(stdout).toMatch(
      /\nagain: livevmm stress --seed 9 --workers 1 --seconds 60 --profile 5\.12 --inject forget-invalid\n/,
    );
    expect(stdout).toMatch(/\nbroken: seed 9, 1 shard\n$/);
  });

  it('ends all its processes on SIGINT', async () => {
    const child = sandbox.start('stress', '--workers', '1');
    const ended = outcome(child);
    await vi.waitFor(() => expect(processes().length).toBeGreaterThan(4));
    child.kill('SIGINT');
    expect(await ended).toEqual({ status: 130, stdout: '', stderr: '' });
    expect(sandbox.leftovers()).toEqual([]);
    expect(processes()).toEqual([]);
  });

  it.each([
    [['--seconds', '0'], '--seconds is a whole number from 1'],
    [['--seed', '-1'], '--seed'],
    [['--workers', '65'], '--workers is a whole number from 1 to 64'],
    [['--profile', '2.6'], "--profile: one of 5.12, 6.2, 6.12, 7.2, not '2.6'"],
    [['--inject', 'gamma-ray'], '--inject: one of keep-mapping'],
    [['now'], "Unexpected argument 'now'"],
  ])('%j is one line on stderr and status 2', async (words, line) => {
    const { status, stderr } = await sandbox.run('stress', ...words);
    expect(stderr).toMatch(/^livevmm: [^\n]+\n$/);
    expect(stderr).toContain(line);
    expect(status).toBe(2);
  });
});
