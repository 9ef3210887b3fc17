import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

import { DemoVmm } from '../demo-vmm.ts';
import { HalfCommand } from '../half-command.ts';
import { buildIn, nodeThat, PROGRAMS, patch } from '../successors.ts';

/** Updates in which another process takes the guest over. */

const demo = DemoVmm.forEachTest();

const transfer = (args: Readonly<Record<string, unknown>> = {}): ReturnType<DemoVmm['update']> =>
  demo.update({ mode: 'transfer', ...args });

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

describe('an update by transfer', () => {
  it('moves the guest to another process, again and again, with console, monitor and client', async () => {
    const { pid } = demo.vmm;
    const before = await demo.vmm.stats();
    const data = await transfer();
    expect(data).toMatchObject({ status: 'completed', mode: 'transfer', generation: 1, pid: demo.vmm.pid });
    expect(demo.vmm.pid).not.toBe(pid);
    const phases = Object.values(data.phasesMs as Record<string, number>);
    expect(phases.reduce((sum, ms) => sum + ms, 0)).toBeCloseTo(data.pauseMs as number, 0);
    expect(demo.events).toEqual(['LIVE_UPDATE started', 'STOP', 'RESUME', 'LIVE_UPDATE completed']);
    expect((await demo.vmm.stats()).heartbeats).toBeGreaterThan(before.heartbeats!);
    expect(await transfer({ probation: 0 })).toMatchObject({ status: 'completed', generation: 2, pid: demo.vmm.pid });
    expect(await demo.qmp.execute('x-stats')).toMatchObject({ generation: 2, pid: demo.vmm.pid });
    expect(isAlive(pid)).toBe(false);
    const exec = await demo.update({ probation: 0 });
    expect(exec).toMatchObject({ status: 'completed', generation: 3, pid: demo.vmm.pid });
    demo.vmm.child.stdin.write('x');
    expect(await demo.vmm.exited).toEqual([0, null]);
  });

  it('keeps a half-received command, and a paused guest', async () => {
    await demo.qmp.execute('stop');
    const client = await HalfCommand.send(demo.vmm.qmpPath);
    await transfer();
    expect((await client.finish()).at(-1)).toBe('{"return": {"status": "paused", "running": false}, "id": "late"}');
    await demo.qmp.execute('cont');
    await demo.vmm.stats();
  });
});

/** The old process loses its CPU when it has given the guest away. */
const LATE = '$1 for (const end = performance.now() + 200; performance.now() < end; );';

it('tells that the guest has stopped before it tells that it runs, however late the old process is', async () => {
  const late = buildIn(demo.folder);
  patch(late, PROGRAMS, /(function tellStop\d*\(.*\) \{)/, LATE);
  await demo.update({ to: late, probation: 0 });
  demo.events.length = 0;
  expect(await transfer({ probation: 0 })).toMatchObject({ status: 'completed', generation: 2 });
  expect(demo.events).toEqual(['LIVE_UPDATE started', 'STOP', 'RESUME', 'LIVE_UPDATE completed']);
});

describe('the guest runs on in the old process, if the new one', () => {
  /** A node that does this when it is to stand by. */
  const onStandby = (does: string): string =>
    nodeThat(join(demo.folder, 'node'), `case "$*" in *" --standby "*) ${does} ;; esac`);

  it.each([
    ['dies before it is ready', 'exit 3', /^the successor is not ready: it has ended$/],
    ['is killed at any moment', '(sleep 0.$(($$ % 10)); kill -9 $$) &', /died|ended/],
  ])('%s', async (_, does, reason) => {
    const { pid } = demo.vmm;
    const { heartbeats } = await demo.vmm.stats();
    const ended = await transfer({ node: onStandby(does), probation: 2000 });
    expect(ended).toMatchObject({ status: 'failed', error: expect.stringMatching(reason) });
    expect((await demo.vmm.stats()).heartbeats).toBeGreaterThan(heartbeats!);
    expect(await demo.qmp.execute('x-stats')).toMatchObject({ generation: 0 });
    expect(demo.vmm.pid).toBe(pid);
    expect(await transfer()).toMatchObject({ status: 'completed', generation: 1 });
  });
});
