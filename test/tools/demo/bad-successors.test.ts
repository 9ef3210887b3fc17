import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { MatrixDocument } from '../../../tools/demo/bad-successors/document.ts';
import { isTurn } from '../../turn.ts';
import { Sandbox } from '../livevmm-process.ts';

/** A short form of the matrix: each kind of end, one after the other, for one guest. */

const TIMEOUT_MS = 180_000;

let sandbox: Sandbox;
beforeEach(() => {
  sandbox = new Sandbox();
});
afterEach(() => sandbox.remove());

const only = (...names: readonly string[]): string[] => names.flatMap((name) => ['--only', name]);

describe('livevmm demo --mode bad-successors', { timeout: TIMEOUT_MS }, () => {
  it.runIf(isTurn(0, 3))('takes one guest through bad successors, says who runs it, and leaves nothing', async () => {
    const report = join(sandbox.dir, 'report.html');
    const rows = only('exits at once, status 1', 'the phase "load"', 'the phase "resume"', 'a copy of the build');
    const ended = await sandbox.run('demo', '--mode', 'bad-successors', '--json', '--report', report, ...rows);
    const document = JSON.parse(ended.stdout) as MatrixDocument;
    expect(document.failures).toEqual([]);
    expect(ended).toMatchObject({ status: 0, stderr: '' });
    expect(document.trials.map(({ outcome }) => outcome)).toEqual([
      'refused',
      'rolled back', // from a new image to whom the vaddrs belonged
      'rolled back', // from a process that had taken the guest over itself
      'completed',
    ]);
    const [first, second, third, last] = document.trials;
    expect(first!.stoodMs).toBeNull();
    expect(new Set([first, second, third].map((trial) => trial!.after!.pid)).size).toBe(3);
    expect(last!.after!.image).not.toBe(first!.after!.image);
    expect(document.counts).toMatchObject([{ trials: [1, 2, 3, 4], interrupts: { lost: 0 }, ramHashMatches: true }]);
    expect(readFileSync(report, 'utf8').match(/class="pass"/g)).toHaveLength(1 + document.trials.length);
    expect(sandbox.leftovers()).toEqual([]);
  });

  it.runIf(isTurn(1, 3))(
    'takes a guest back from other processes, twice, and leaves it to one whose old process was killed',
    async () => {
      const rows = only(
        'transfer: is killed when its threads',
        'transfer: dies 50',
        'transfer: the old process is killed',
      );
      const ended = await sandbox.run('demo', '--mode', 'bad-successors', '--json', ...rows);
      const document = JSON.parse(ended.stdout) as MatrixDocument;
      expect(document.failures).toEqual([]);
      expect(document.trials.map(({ outcome }) => outcome)).toEqual(['rolled back', 'rolled back', 'completed']);
      const pids = document.trials.map(({ after }) => after!.pid);
      expect([pids[1], pids[2]]).toEqual([pids[0], expect.not.toSatisfy((pid) => pid === pids[0])]);
      expect(sandbox.leftovers()).toEqual([]);
    },
  );

  it.runIf(isTurn(2, 3))(
    'takes another machine after a rollback, where the kernel lets no second process update',
    async () => {
      const rows = only('the phase "load"', 'a second update while');
      const words = ['--mode', 'bad-successors', '--json', '--vfio-profile', '5.12', ...rows];
      const document = JSON.parse((await sandbox.run('demo', ...words)).stdout) as MatrixDocument;
      expect(document.counts.map(({ trials }) => trials)).toEqual([[1], [2]]); // two machines
      expect(document.trials.map(({ outcome }) => outcome)).toEqual(['rolled back', 'completed']);
    },
  );

  it('is one line on stderr and status 2 for a row that does not exist', async () => {
    const ended = await sandbox.run('demo', '--mode', 'bad-successors', '--only', 'is nice');
    expect(ended).toEqual({
      status: 2,
      stdout: '',
      stderr: "livevmm: --only: no row has 'is nice' in its name\n",
    });
  });
});
