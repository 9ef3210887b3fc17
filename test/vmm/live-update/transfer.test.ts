import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { QmpClient } from '../../../tools/clients/qmp-client.ts';
import { nodeThat } from '../successors.ts';
import { updateEnded, VmmProcess } from '../vmm-process.ts';

/** Updates in which another process takes the guest over. */

const TIMEOUT_MS = 90_000;

let folder: string;
let vmm: VmmProcess;
let qmp: QmpClient;
const events: string[] = [];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'livevmm-transfer-'));
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

async function transfer(args: Readonly<Record<string, unknown>> = {}): Promise<Readonly<Record<string, unknown>>> {
  const [{ data }] = await Promise.all([
    qmp.nextEvent(updateEnded, TIMEOUT_MS),
    qmp.execute('live-update', { mode: 'transfer', ...args }),
  ]);
  return data;
}

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

describe('an update by transfer', () => {
  it('moves the guest to another process, again and again, with console, monitor and client', async () => {
    const { pid } = vmm;
    const before = await vmm.stats();
    const data = await transfer();
    expect(data).toMatchObject({ status: 'completed', mode: 'transfer', generation: 1, pid: vmm.pid });
    expect(vmm.pid).not.toBe(pid);
    const phases = Object.values(data.phasesMs as Record<string, number>);
    expect(phases.reduce((sum, ms) => sum + ms, 0)).toBeCloseTo(data.pauseMs as number, 0);
    expect(events).toEqual(['LIVE_UPDATE started', 'STOP', 'RESUME', 'LIVE_UPDATE completed']);
    expect((await vmm.stats()).heartbeats).toBeGreaterThan(before.heartbeats!);
    expect(await transfer({ probation: 0 })).toMatchObject({ status: 'completed', generation: 2, pid: vmm.pid });
    expect(await qmp.execute('x-stats')).toMatchObject({ generation: 2, pid: vmm.pid });
    expect(isAlive(pid)).toBe(false);
    const [{ data: exec }] = await Promise.all([
      qmp.nextEvent(updateEnded, TIMEOUT_MS),
      qmp.execute('live-update', { probation: 0 }),
    ]);
    expect(exec).toMatchObject({ status: 'completed', generation: 3, pid: vmm.pid });
    vmm.child.stdin.write('x');
    expect(await vmm.exited).toEqual([0, null]);
  });

  it('keeps a half-received command, and a paused guest', async () => {
    await qmp.execute('stop');
    const socket = connect(vmm.qmpPath);
    const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
    const nextLine = async (): Promise<string> => String((await lines.next()).value);
    await nextLine(); // the greeting
    socket.write('{"execute": "qmp_capabilities"} {"execute": "query-sta');
    expect(await nextLine()).toBe('{"return": {}}');
    await transfer();
    socket.write('tus", "id": "late"}');
    const answers: string[] = [];
    while (!answers.at(-1)?.includes('late')) answers.push(await nextLine());
    expect(answers.at(-1)).toBe('{"return": {"status": "paused", "running": false}, "id": "late"}');
    socket.destroy();
    await qmp.execute('cont');
    await vmm.stats();
  });
});

describe('the guest runs on in the old process, if the new one', () => {
  /** A node that does this when it is to stand by. */
  const onStandby = (does: string): string =>
    nodeThat(join(folder, 'node'), `case "$*" in *" --standby "*) ${does} ;; esac`);

  it.each([
    ['dies before it is ready', 'exit 3', /^the successor is not ready: it has ended$/],
    ['is killed at any moment', '(sleep 0.$(($$ % 10)); kill -9 $$) &', /died|ended/],
  ])('%s', async (_, does, reason) => {
    const { pid } = vmm;
    const { heartbeats } = await vmm.stats();
    const ended = await transfer({ node: onStandby(does), probation: 2000 });
    expect(ended).toMatchObject({ status: 'failed', error: expect.stringMatching(reason) });
    expect((await vmm.stats()).heartbeats).toBeGreaterThan(heartbeats!);
    expect(await qmp.execute('x-stats')).toMatchObject({ generation: 0 });
    expect(vmm.pid).toBe(pid);
    expect(await transfer()).toMatchObject({ status: 'completed', generation: 1 });
  });
});
