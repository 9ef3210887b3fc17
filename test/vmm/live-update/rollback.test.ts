import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { QmpClient } from '../../../tools/clients/qmp-client.ts';
import { nodeThat } from '../successors.ts';
import { updateEnded, VmmProcess } from '../vmm-process.ts';

/**
 * A successor that passes the preflight and fails afterwards: the guest goes back to the old image.
 */

const TIMEOUT_MS = 90_000;

let folder: string;
let vmm: VmmProcess;
let qmp: QmpClient;
const events: string[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'livevmm-rollback-'));
  vmm = new VmmProcess('demo');
  await vmm.prints(/demo: .*\n/);
  qmp = await vmm.monitor();
  events.length = 0;
  qmp.listen(({ event, data }) => events.push(event === 'LIVE_UPDATE' ? `${event} ${data.status}` : event));
});

afterEach(async () => {
  qmp.close();
  expect(await vmm.end()).toEqual([]);
  rmSync(folder, { recursive: true });
});

/** A node that does this when the guest is to be taken over. */
const onResume = (does: string): string =>
  nodeThat(join(folder, 'node'), `case "$*" in *" --resume "*) ${does} ;; esac`);

async function update(args: Readonly<Record<string, unknown>>): Promise<Readonly<Record<string, unknown>>> {
  const [{ data }] = await Promise.all([qmp.nextEvent(updateEnded, TIMEOUT_MS), qmp.execute('live-update', args)]);
  return data;
}

describe('the guest goes back to the old image, if the new one', () => {
  it.each([
    ['exits at once', 'exit 0'],
    ['is killed', 'kill -SEGV $$'],
    ['closes what it has inherited, and goes', 'exec 3>&- 4>&-; exec sh -c "exit 1"'],
    ['has too little memory', 'ulimit -v 500000'],
    ['has lost the state', 'for last; do :; done; eval "exec $last<&-"'],
    ['hangs', 'exec sleep 300'],
  ])('%s', async (_, does) => {
    const { pid } = vmm;
    const before = await vmm.stats();
    const ended = await update({ node: onResume(does) });
    expect(ended).toMatchObject({ status: 'failed', generation: 0, pid: vmm.pid });
    expect(vmm.pid).not.toBe(pid);
    expect(ended.error).toBe(
      `the new image ${does.includes('sleep') ? 'did not run the guest within 5 s' : 'died before the guest ran in it'}; process ${vmm.pid} runs the guest on in the old image`,
    );
    expect(events).toEqual(['LIVE_UPDATE started', 'STOP', 'RESUME', 'LIVE_UPDATE failed']);
    const after = await vmm.stats();
    expect(after.heartbeats).toBeGreaterThan(before.heartbeats!);
    expect(await qmp.execute('x-stats')).toMatchObject({ generation: 0, pid: vmm.pid });
    expect(await update({})).toMatchObject({ status: 'completed', generation: 1, pid: vmm.pid });
  });
});

describe('a new image that has run the guest', () => {
  it('is killed before it commits: the guest goes on from the last state that it published', async () => {
    const before = await vmm.stats();
    const running = qmp.nextEvent(({ event }) => event === 'RESUME', TIMEOUT_MS);
    const failed = qmp.nextEvent(updateEnded, TIMEOUT_MS);
    await qmp.execute('live-update', { probation: 60_000 });
    await running;
    process.kill(vmm.pid, 'SIGKILL');
    const { data } = await failed;
    expect(data).toMatchObject({ status: 'failed', generation: 0, pid: vmm.pid });
    expect(data.error).toMatch(/^the new image died before it had committed; process \d+ runs the guest on/);
    expect(events).toEqual(['LIVE_UPDATE started', 'STOP', 'RESUME', 'RESUME', 'LIVE_UPDATE failed']);
    expect((await vmm.stats()).heartbeats).toBeGreaterThan(before.heartbeats!);
    expect(await update({})).toMatchObject({ status: 'completed', generation: 1, pid: vmm.pid });
  });
});
