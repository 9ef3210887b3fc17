import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { cpus, setPriority } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { inTurn, isTurn } from '../../turn.ts';
import { DemoVmm } from '../demo-vmm.ts';
import { buildIn, nodeThat, PROGRAMS, patch } from '../successors.ts';

/**
 * A successor that passes the preflight and fails afterwards: the guest goes back to the old image.
 */

/** Beside two busy processes on each CPU, it gets 5 % of one. */
const NICE = 10;

const demo = DemoVmm.forEachTest();

/** A node that does this when the guest is to be taken over. */
const onResume = (does: string): string =>
  nodeThat(join(demo.folder, 'node'), `case "$*" in *" --resume "*) ${does} ;; esac`);

describe('the guest goes back to the old image, if the new one', () => {
  it.each(
    inTurn(
      [
        ['exits at once', 'exit 0'],
        ['is killed', 'kill -SEGV $$'],
        ['closes what it has inherited, and goes', 'exec 3>&- 4>&-; exec sh -c "exit 1"'],
        ['has too little memory', 'ulimit -v 500000'],
        ['has lost the state', 'for last; do :; done; eval "exec $last<&-"'],
        ['hangs', 'exec sleep 300'],
      ],
      3,
    ),
  )('%s', async (_, does) => {
    const { pid } = demo.vmm;
    const before = await demo.vmm.stats();
    const ended = await demo.update({ node: onResume(does) });
    expect(ended).toMatchObject({ status: 'failed', generation: 0, pid: demo.vmm.pid });
    expect(demo.vmm.pid).not.toBe(pid);
    expect(ended.error).toBe(
      `the new image ${does.includes('sleep') ? 'did not run the guest within 5 s' : 'died before the guest ran in it'}; process ${demo.vmm.pid} runs the guest on in the old image`,
    );
    expect(demo.events).toEqual(['LIVE_UPDATE started', 'STOP', 'RESUME', 'LIVE_UPDATE failed']);
    const after = await demo.vmm.stats();
    expect(after.heartbeats).toBeGreaterThan(before.heartbeats!);
    expect(await demo.qmp.execute('x-stats')).toMatchObject({ generation: 0, pid: demo.vmm.pid });
    expect(await demo.update({})).toMatchObject({ status: 'completed', generation: 1, pid: demo.vmm.pid });
  });
});

it('the guest goes back with a section that the new image did not know, and that it might lose', async () => {
  const to = buildIn(demo.folder);
  patch(to, PROGRAMS, /survivor\(IMSIC_SECTION\.numbered\(hart\), \{[\s\S]*?\}\),/, '');
  patch(to, PROGRAMS, /(async function goOn\(.*\) \{)/, '$1 process.kill(process.pid, "SIGKILL");');
  const ended = await demo.update({ to, 'allow-loss': ['imsic'] });
  expect(ended).toMatchObject({ status: 'failed', generation: 0, pid: demo.vmm.pid });
  await demo.vmm.stats();
  expect(await demo.update({})).toMatchObject({ status: 'completed', generation: 1 });
});

describe('a new image that has run the guest', () => {
  it.runIf(isTurn(0, 4))('has time of its own to commit, whoever has the CPUs', async ({ onTestFinished }) => {
    const ended = demo.updateEnds();
    await demo.resumed({ probation: 0 });
    for (const thread of readdirSync(`/proc/${demo.vmm.pid}/task`)) setPriority(Number(thread), NICE);
    for (const _ of [...cpus(), ...cpus()]) {
      const other = spawn('sh', ['-c', 'while :; do :; done']);
      onTestFinished(() => void other.kill('SIGKILL'));
    }
    expect((await ended).data).toMatchObject({ status: 'completed', generation: 1 });
  });

  it('is killed before it commits: the guest goes on from the last state that it published', async () => {
    const before = await demo.vmm.stats();
    const failed = demo.updateEnds();
    await demo.resumed({ probation: 60_000 });
    process.kill(demo.vmm.pid, 'SIGKILL');
    const { data } = await failed;
    expect(data).toMatchObject({ status: 'failed', generation: 0, pid: demo.vmm.pid });
    expect(data.error).toMatch(/^the new image died before it had committed; process \d+ runs the guest on/);
    expect(demo.events).toEqual(['LIVE_UPDATE started', 'STOP', 'RESUME', 'RESUME', 'LIVE_UPDATE failed']);
    expect((await demo.vmm.stats()).heartbeats).toBeGreaterThan(before.heartbeats!);
    expect(await demo.update({})).toMatchObject({ status: 'completed', generation: 1, pid: demo.vmm.pid });
  });
});
