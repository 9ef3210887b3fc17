import { mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { QmpClient } from '../../../tools/clients/qmp-client.ts';
import { turncoat } from '../successors.ts';
import { updateEnded, VmmProcess } from '../vmm-process.ts';

/** Exec updates of a VMM without devices, hence without a host. */

const TIMEOUT_MS = 90_000;
let vmm: VmmProcess;
let qmp: QmpClient;

beforeEach(async () => {
  vmm = new VmmProcess('demo');
  await vmm.prints(/demo: .*\n/);
  qmp = await vmm.monitor();
});

afterEach(async () => {
  qmp.close();
  expect(await vmm.end()).toEqual([]);
});

async function update(args?: Record<string, string>): Promise<Record<string, unknown>> {
  const ended = qmp.nextEvent(updateEnded, TIMEOUT_MS);
  await Promise.all([qmp.execute('live-update', args), ended]);
  return (await ended).data;
}

const memoryMap = (): string => readFileSync(`/proc/${vmm.pid}/maps`, 'latin1');

describe('an exec update', () => {
  it('keeps pid and guest, moves guest RAM to another vaddr, and says what it cost', async () => {
    const before = await vmm.stats();
    const data = await update();
    expect(data).toMatchObject({ status: 'completed', generation: 1, pid: vmm.pid });
    expect(data.vaddrNew).not.toBe(data.vaddrOld);
    expect(memoryMap()).toContain(`${String(data.vaddrNew).slice(2)}-`);
    expect(memoryMap()).not.toContain(`${String(data.vaddrOld).slice(2)}-`);
    const phases = Object.entries(data.phasesMs as Record<string, number>);
    expect(phases.map(([name]) => name)).toEqual([
      'stop',
      'invalidate',
      'save',
      'exec',
      'boot',
      'map',
      'remap',
      'load',
      'resume',
    ]);
    expect(phases.reduce((sum, [, ms]) => sum + ms, 0)).toBeCloseTo(data.pauseMs as number, 0);
    expect((data.pauseEndNs as number) - (data.pauseStartNs as number)).toBeCloseTo((data.pauseMs as number) * 1e6, -4);
    const after = await vmm.stats();
    expect(after.heartbeats).toBeGreaterThan(before.heartbeats!);
  });

  it('can be done again and again, with the console, the monitor and its client going on', async () => {
    for (const generation of [1, 2, 3]) expect(await update()).toMatchObject({ status: 'completed', generation });
    expect(await qmp.execute('x-stats')).toMatchObject({ generation: 3, pid: vmm.pid });
    const other = await vmm.monitor();
    expect(await other.execute('query-status')).toEqual({ status: 'running', running: true });
    other.close();
    vmm.child.stdin.write('x');
    expect(await vmm.exited).toEqual([0, null]);
  });

  it('tells STOP, RESUME and its own events, in order', async () => {
    const events: string[] = [];
    const stop = qmp.listen(({ event, data }) => {
      events.push(event === 'LIVE_UPDATE' ? `${event} ${data.status}` : event);
    });
    await update();
    stop();
    expect(events).toEqual(['LIVE_UPDATE started', 'STOP', 'RESUME', 'LIVE_UPDATE completed']);
  });

  it('leaves a paused guest paused, and keeps what is typed meanwhile', async () => {
    await qmp.execute('stop');
    vmm.child.stdin.write('s');
    expect(await update()).toMatchObject({ status: 'completed', generation: 1 });
    expect(await qmp.execute('query-status')).toEqual({ status: 'paused', running: false });
    expect(vmm.output).not.toContain('@stats');
    await qmp.execute('cont');
    await vmm.prints(/@stats/);
  });

  it('keeps a half-received command and the state of each client', async () => {
    const socket = connect(vmm.qmpPath);
    const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
    const nextLine = async (): Promise<string> => String((await lines.next()).value);
    await nextLine(); // the greeting
    socket.write('{"execute": "qmp_capabilities"} {"execute": "query-sta');
    expect(await nextLine()).toBe('{"return": {}}');
    await update();
    socket.write('tus", "id": "late"}');
    const answers: string[] = [];
    while (!answers.at(-1)?.includes('late')) answers.push(await nextLine());
    expect(answers.at(-1)).toBe('{"return": {"status": "running", "running": true}, "id": "late"}');
    expect(answers.some((line) => line.includes('"status": "completed"'))).toBe(true);
    socket.destroy();
  });

  it('leaks no fd: what is open is what was open before, and closes on exec as before', async () => {
    const before = openFiles();
    await update();
    expect(openFiles()).toEqual(before);
    await update();
    expect(openFiles()).toEqual(before);
  });
});

const O_CLOEXEC = 0o2000000;

/**
 * What the VMM has open, and which of it an exec would close; pipes, which Node makes for its
 * threads, without their numbers.
 */
function openFiles(): string[] {
  const proc = `/proc/${vmm.pid}`;
  const file = (fd: string): string => {
    const target = readlinkSync(`${proc}/fd/${fd}`).replace(/^pipe:.*/, 'pipe');
    const [, flags = ''] = /^flags:\s+(\d+)$/m.exec(readFileSync(`${proc}/fdinfo/${fd}`, 'latin1'))!;
    return `${target}${(Number.parseInt(flags, 8) & O_CLOEXEC) === 0 ? ', stays open' : ''}`;
  };
  return readdirSync(`${proc}/fd`).map(file).toSorted();
}

describe('an update that cannot be done', () => {
  let before: readonly string[];
  beforeEach(() => {
    before = openFiles();
  });

  it('is refused when one is under way, however soon the second is asked for', async () => {
    const ended = qmp.nextEvent(updateEnded, TIMEOUT_MS);
    const other = await vmm.monitor();
    const answers = await Promise.allSettled([qmp.execute('live-update'), other.execute('live-update')]);
    expect(answers.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    expect((await ended).data).toMatchObject({ status: 'completed', generation: 1 });
    other.close();
  });

  async function expectUnharmed(): Promise<void> {
    expect(openFiles()).toEqual(before);
    expect(await qmp.execute('query-status')).toEqual({ status: 'running', running: true });
    const { heartbeats } = await vmm.stats();
    expect(await vmm.stats()).toMatchObject({ framesLost: 0 });
    expect((await vmm.stats()).heartbeats).toBeGreaterThanOrEqual(heartbeats!);
    expect(await qmp.execute('x-stats')).toMatchObject({ generation: 0 });
  }

  it.each([
    {
      what: 'a node that does not exist',
      args: { node: '/nonexistent/node' },
      error: '/nonexistent/node: no such file',
    },
    { what: 'a folder without a vmm', args: { to: '/nonexistent' }, error: /^\/nonexistent\/vmm\..?js: no such file$/ },
  ])('is refused before the guest stops: $what', async ({ args, error }) => {
    await expect(qmp.execute('live-update', args)).rejects.toThrow(error);
    await expectUnharmed();
  });

  it.each([
    { what: 'not executable', mode: 0o644, content: '#!/bin/sh\n', code: 'EACCES' },
    { what: 'no program', mode: 0o755, content: 'neither ELF nor script', code: 'ENOEXEC' },
    { what: 'a script whose interpreter is missing', mode: 0o755, content: '#!/nonexistent\n', code: 'ENOENT' },
  ])('is rolled back when the node becomes $what after the preflight ($code)', async ({ mode, content, code }) => {
    const folder = join(vmm.dir, 'bin');
    mkdirSync(folder);
    const node = turncoat(join(folder, 'node'), content, mode);
    const events: string[] = [];
    const stop = qmp.listen(({ event }) => events.push(event));
    expect(await update({ node })).toEqual({ status: 'failed', error: `execve ${node}: ${code}` });
    stop();
    expect(events).toEqual(['LIVE_UPDATE', 'STOP', 'RESUME', 'LIVE_UPDATE']);
    await expectUnharmed();
    expect(await update()).toMatchObject({ status: 'completed', generation: 1 });
    rmSync(folder, { recursive: true });
  });
});
