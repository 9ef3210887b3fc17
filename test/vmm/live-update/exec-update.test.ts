import { mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { inTurn } from '../../turn.ts';
import { DemoVmm } from '../demo-vmm.ts';
import { HalfCommand } from '../half-command.ts';
import { turncoat } from '../successors.ts';

/** Exec updates of a VMM without devices, hence without a host. */

const demo = DemoVmm.forEachTest();

const memoryMap = (): string => readFileSync(`/proc/${demo.vmm.pid}/maps`, 'latin1');

describe('an exec update', () => {
  it('keeps pid and guest, moves guest RAM to another vaddr, and says what it cost', async () => {
    const before = await demo.vmm.stats();
    const data = await demo.update();
    expect(data).toMatchObject({ status: 'completed', generation: 1, pid: demo.vmm.pid });
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
    const after = await demo.vmm.stats();
    expect(after.heartbeats).toBeGreaterThan(before.heartbeats!);
  });

  it('can be done again and again, with the console, the monitor and its client going on', async () => {
    for (const generation of [1, 2, 3]) expect(await demo.update()).toMatchObject({ status: 'completed', generation });
    expect(await demo.qmp.execute('x-stats')).toMatchObject({ generation: 3, pid: demo.vmm.pid });
    const other = await demo.vmm.monitor();
    expect(await other.execute('query-status')).toEqual({ status: 'running', running: true });
    other.close();
    demo.vmm.child.stdin.write('x');
    expect(await demo.vmm.exited).toEqual([0, null]);
  });

  it('tells STOP, RESUME and its own events, in order', async () => {
    await demo.update();
    expect(demo.events).toEqual(['LIVE_UPDATE started', 'STOP', 'RESUME', 'LIVE_UPDATE completed']);
  });

  it('leaves a paused guest paused, and keeps what is typed meanwhile', async () => {
    await demo.qmp.execute('stop');
    demo.vmm.child.stdin.write('s');
    expect(await demo.update()).toMatchObject({ status: 'completed', generation: 1 });
    expect(await demo.qmp.execute('query-status')).toEqual({ status: 'paused', running: false });
    expect(demo.vmm.output).not.toContain('@stats');
    await demo.qmp.execute('cont');
    await demo.vmm.prints(/@stats/);
  });

  it('keeps a half-received command and the state of each client', async () => {
    const client = await HalfCommand.send(demo.vmm.qmpPath);
    await demo.update();
    const lines = await client.finish();
    expect(lines.at(-1)).toBe('{"return": {"status": "running", "running": true}, "id": "late"}');
    expect(lines.some((line) => line.includes('"status": "completed"'))).toBe(true);
  });

  it('leaks no fd: what is open is what was open before, and closes on exec as before', async () => {
    const before = await filesAtRest();
    await demo.update();
    expect(openFiles()).toEqual(before);
    await demo.update();
    expect(openFiles()).toEqual(before);
  });
});

const O_CLOEXEC = 0o2000000;

/**
 * What the VMM has open, and which of it an exec would close; pipes, which Node makes for its
 * threads, without their numbers.
 */
function openFiles(): string[] {
  const proc = `/proc/${demo.vmm.pid}`;
  const file = (fd: string): string => {
    const target = readlinkSync(`${proc}/fd/${fd}`).replace(/^pipe:.*/, 'pipe');
    const [, flags = ''] = /^flags:\s+(\d+)$/m.exec(readFileSync(`${proc}/fdinfo/${fd}`, 'latin1'))!;
    return `${target}${(Number.parseInt(flags, 8) & O_CLOEXEC) === 0 ? ', stays open' : ''}`;
  };
  return readdirSync(`${proc}/fd`).map(file).toSorted();
}

/** As openFiles, when the guest runs by its own threads: nothing is being loaded any more. */
async function filesAtRest(): Promise<string[]> {
  await demo.qmp.execute('query-live-update'); // waits until the threads have taken over
  let files = openFiles();
  await vi.waitFor(async () => {
    const seen = files;
    await sleep(200);
    files = openFiles();
    expect(files).toEqual(seen);
    expect(files.filter((file) => /\.c?js/.test(file))).toEqual([]);
  }, 20_000);
  return files;
}

describe('an update that cannot be done', () => {
  let before: readonly string[];
  beforeEach(async () => {
    before = await filesAtRest();
  });

  it('is refused when one is under way, however soon the second is asked for', async () => {
    const ended = demo.updateEnds();
    const other = await demo.vmm.monitor();
    const answers = await Promise.allSettled([demo.qmp.execute('live-update'), other.execute('live-update')]);
    expect(answers.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    expect((await ended).data).toMatchObject({ status: 'completed', generation: 1 });
    other.close();
  });

  async function expectUnharmed(): Promise<void> {
    expect(openFiles()).toEqual(before);
    expect(await demo.qmp.execute('query-status')).toEqual({ status: 'running', running: true });
    const { heartbeats } = await demo.vmm.stats();
    expect(await demo.vmm.stats()).toMatchObject({ framesLost: 0 });
    expect((await demo.vmm.stats()).heartbeats).toBeGreaterThanOrEqual(heartbeats!);
    expect(await demo.qmp.execute('x-stats')).toMatchObject({ generation: 0 });
  }

  it.each([
    {
      what: 'a node that does not exist',
      args: { node: '/nonexistent/node' },
      error: '/nonexistent/node: no such file',
    },
    { what: 'a folder without a vmm', args: { to: '/nonexistent' }, error: /^\/nonexistent\/vmm\..?js: no such file$/ },
  ])('is refused before the guest stops: $what', async ({ args, error }) => {
    await expect(demo.qmp.execute('live-update', args)).rejects.toThrow(error);
    await expectUnharmed();
  });

  it.each(
    inTurn([
      { what: 'not executable', mode: 0o644, content: '#!/bin/sh\n', code: 'EACCES' },
      { what: 'no program', mode: 0o755, content: 'neither ELF nor script', code: 'ENOEXEC' },
      { what: 'a script whose interpreter is missing', mode: 0o755, content: '#!/nonexistent\n', code: 'ENOENT' },
    ]),
  )('is rolled back when the node becomes $what after the preflight ($code)', async ({ mode, content, code }) => {
    const folder = join(demo.vmm.dir, 'bin');
    mkdirSync(folder);
    const node = turncoat(join(demo.folder, 'node'), content, mode);
    expect(await demo.update({ node })).toEqual({ status: 'failed', error: `execve ${node}: ${code}` });
    expect(demo.events).toEqual(['LIVE_UPDATE started', 'STOP', 'RESUME', 'LIVE_UPDATE failed']);
    await expectUnharmed();
    expect(await demo.update()).toMatchObject({ status: 'completed', generation: 1 });
    rmSync(folder, { recursive: true });
  });
});
