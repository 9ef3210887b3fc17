import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpus } from 'node:os';
import { afterEach, describe, expect, it } from 'vitest';

import { monotonicNs } from '../../../platform/clock.ts';
import { limitTime } from '../../../vmm/live-update/time-limit.ts';

const children: ChildProcess[] = [];

afterEach(async () => {
  for (const child of children.splice(0)) {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
});

function start(...words: readonly [string, ...string[]]): number {
  const child = spawn(words[0], words.slice(1), { stdio: 'ignore' });
  children.push(child);
  return child.pid!;
}

/** Resolves with the time that the process was given. */
function timeOf(pid: number, ownMs: number, allMs: number): Promise<number> {
  const begin = monotonicNs();
  return new Promise((resolve) => {
    limitTime(pid, { ownMs, allMs }, () => resolve((monotonicNs() - begin) / 1e6));
  });
}

const BUSY = 'while :; do :; done';

describe('the time of a process', () => {
  it('ends although the process sleeps', async () => {
    expect(await timeOf(start('sleep', '600'), 200, 600_000)).toBeGreaterThanOrEqual(199);
  });

  it('lasts longer when others have the CPUs', async () => {
    for (const _ of [...cpus(), ...cpus()]) start('sh', '-c', BUSY);
    // it gets a third of what each of those gets, and two of them are on its CPU
    expect(await timeOf(start('nice', '-n', '5', 'sh', '-c', BUSY), 200, 600_000)).toBeGreaterThan(400);
  });

  it('has an end whoever has the CPUs', async () => {
    for (const _ of [...cpus(), ...cpus()]) start('sh', '-c', BUSY);
    const ms = await timeOf(start('nice', '-n', '19', 'sh', '-c', BUSY), 300, 500);
    expect(ms).toBeGreaterThanOrEqual(499);
  });

  it('is not looked at any more when the limit was stopped', async () => {
    let late = false;
    const stop = limitTime(start('sleep', '600'), { ownMs: 50, allMs: 50 }, () => {
      late = true;
    });
    stop();
    await timeOf(process.pid, 100, 100);
    expect(late).toBe(false);
  });
});
