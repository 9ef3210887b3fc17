import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { guestPath, programPath } from '../../../../tools/launch/programs.ts';
import { QmpScript } from '../../qmp-script.ts';
import { nodeThat, turncoat } from '../../successors.ts';
import { VmmProcess } from '../../vmm-process.ts';

/** A script for QEMU's cpr-exec drives livevmm. */

const VMM = programPath('vmm');
const BLOCKED = 'mode normal: this VMM cannot copy RAM to another machine; set mode to cpr-exec or cpr-transfer';
let vmm: VmmProcess;
let qmp: QmpScript;
/** The command line that QEMU's users put together: the program, the same machine, -incoming. */
let command: string[];
let uri: string;
let bin: string;

beforeEach(async () => {
  vmm = new VmmProcess('demo');
  await vmm.prints(/demo: .*\n/);
  qmp = await QmpScript.connect(vmm.qmpPath);
  uri = `file:${join(vmm.dir, 'vm.state')}`;
  const machine = ['-m', '64M', '--kernel', guestPath('demo'), '--qmp', vmm.qmpPath];
  command = [process.execPath, VMM, ...machine, '-incoming', uri];
  bin = join(vmm.dir, 'bin');
  mkdirSync(bin);
});

afterEach(async () => {
  qmp.close();
  rmSync(bin, { recursive: true });
  expect(await vmm.end()).toEqual([]);
});

const withEvents = (): Promise<unknown> =>
  qmp.cmd('migrate-set-capabilities', { capabilities: [{ capability: 'events', state: true }] });

const useExec = (execCommand: readonly string[] = command): Promise<unknown> =>
  qmp.cmd('migrate-set-parameters', { mode: 'cpr-exec', 'cpr-exec-command': execCommand });

describe('cpr-exec', () => {
  it('replaces the VMM, with the events in the order in which they are true, and tells what it took', async () => {
    await withEvents();
    await useExec();
    expect(await qmp.cmd('query-migrate')).toEqual({});
    await qmp.cmd('migrate', { uri });
    const info = await qmp.migrationEnds();
    expect(info).toMatchObject({ status: 'completed', 'x-live-update': { generation: 1, pid: vmm.pid, dma: [] } });
    expect(await qmp.cmd('query-status')).toEqual({ status: 'running', running: true });
    expect(qmp.events).toEqual([
      'MIGRATION setup',
      'LIVE_UPDATE started',
      'MIGRATION active',
      'STOP',
      'MIGRATION device',
      'RESUME',
      'MIGRATION completed',
      'LIVE_UPDATE completed',
    ]);
    expect(await vmm.stats()).toMatchObject({ framesLost: 0 });

    const { pauseMs, phasesMs } = info['x-live-update'] as { pauseMs: number; phasesMs: Record<string, number> };
    const sum = Object.values(phasesMs).reduce((all, ms) => all + ms, 0);
    expect(sum).toBeCloseTo(pauseMs, 0);
    expect(info.downtime).toBe(Math.round(pauseMs));
    const [total, setup] = [info['total-time'] as number, info['setup-time'] as number];
    expect(setup).toBeGreaterThan(0);
    expect(total).toBeGreaterThanOrEqual(setup + (info.downtime as number) - 1);
  });

  it('keeps parameters and capabilities, so that it can be done again', async () => {
    await withEvents();
    await useExec();
    for (const generation of [1, 2]) {
      await qmp.cmd('migrate', { uri });
      expect(await qmp.migrationEnds()).toMatchObject({ status: 'completed', 'x-live-update': { generation } });
    }
    expect(await qmp.cmd('query-migrate-parameters')).toEqual({ mode: 'cpr-exec', 'cpr-exec-command': command });
    expect(await qmp.cmd('query-migrate-capabilities')).toEqual([{ state: true, capability: 'events' }]);
    expect(qmp.events.filter((event) => event === 'MIGRATION completed')).toHaveLength(2);
  });

  it('leaves a paused guest paused', async () => {
    await qmp.cmd('stop');
    await useExec([VMM]);
    await qmp.cmd('migrate', { channels: [{ 'channel-type': 'main', addr: fileAddress() }] });
    expect(await qmp.migrationEnds()).toMatchObject({ status: 'completed' });
    expect(await qmp.cmd('query-status')).toEqual({ status: 'paused', running: false });
  });

  it('is told to whoever asks, also of an update that was begun in another way', async () => {
    await withEvents();
    await qmp.cmd('live-update');
    expect(await qmp.migrationEnds()).toMatchObject({ status: 'completed', 'blocked-reasons': [BLOCKED] });
    expect(qmp.events).toContain('MIGRATION completed');
  });
});

const fileAddress = () => ({ transport: 'file', filename: join(vmm.dir, 'vm.state'), offset: 0 });

/** The events of a migration that fails after the guest has been stopped for it. */
const ROLLED_BACK = ['MIGRATION setup', 'MIGRATION active', 'STOP', 'MIGRATION device', 'RESUME', 'MIGRATION failed'];

describe('a migration that cannot be', () => {
  it('is refused as long as the mode is normal, and says why beforehand', async () => {
    expect(await qmp.cmd('query-migrate')).toEqual({ 'blocked-reasons': [BLOCKED] });
    await expect(qmp.cmd('migrate', { uri })).rejects.toThrow(BLOCKED);
    expect(await qmp.cmd('query-migrate')).toEqual({ 'blocked-reasons': [BLOCKED] });
  });

  it('is refused while another one is under way, and so is a change of capabilities', async () => {
    await useExec();
    await qmp.cmd('migrate', { uri });
    await expect(qmp.cmd('migrate', { uri })).rejects.toThrow("There's a migration process in progress");
    await expect(withEvents()).rejects.toThrow("There's a migration process in progress");
    expect(await qmp.migrationEnds()).toMatchObject({ status: 'completed' });
  });

  it('fails while the guest runs on, if the successor is no good', async () => {
    await withEvents();
    await useExec([nodeThat(join(bin, 'node'), 'echo no luck >&2; exit 3'), VMM]);
    await qmp.cmd('migrate', { uri });
    expect(await qmp.migrationEnds()).toEqual({
      status: 'failed',
      'error-desc': 'the successor does not answer: it ended with status 3, saying "no luck"',
    });
    expect(qmp.events.filter((event) => !event.startsWith('LIVE_UPDATE'))).toEqual([
      'MIGRATION setup',
      'MIGRATION failed',
    ]);
    await vmm.stats();
  });

  it('is rolled back if execve fails, and failed is told when the guest runs again', async () => {
    const node = turncoat(join(bin, 'node'), '#!/bin/sh\n', 0o644);
    await withEvents();
    await useExec([node, VMM]);
    await qmp.cmd('migrate', { uri });
    expect(await qmp.migrationEnds()).toEqual({ status: 'failed', 'error-desc': `execve ${node}: EACCES` });
    expect(qmp.events.filter((event) => !event.startsWith('LIVE_UPDATE'))).toEqual(ROLLED_BACK);
    await vmm.stats();
  });

  it('fails, with the guest back in the old image, if the new one dies after the exec', async () => {
    const { pid } = vmm;
    await withEvents();
    await useExec([nodeThat(join(bin, 'node'), 'case "$*" in *" --resume "*) kill -SEGV $$ ;; esac'), VMM]);
    await qmp.cmd('migrate', { uri });
    const info = await qmp.migrationEnds();
    expect(info).toMatchObject({
      status: 'failed',
      'error-desc': expect.stringMatching(/^the new image died before /),
    });
    expect(qmp.events.filter((event) => !event.startsWith('LIVE_UPDATE'))).toEqual(ROLLED_BACK);
    expect(await qmp.cmd('x-stats')).toMatchObject({ generation: 0 });
    expect(vmm.pid).not.toBe(pid);
    await vmm.stats();
  });

  it('can be cancelled before the guest is stopped, and another one begun', async () => {
    await withEvents();
    await useExec([nodeThat(join(bin, 'node'), 'exec sleep 300'), VMM]);
    await qmp.cmd('migrate', { uri });
    expect(await qmp.cmd('query-migrate')).toEqual({ status: 'setup' });
    await qmp.cmd('migrate_cancel');
    expect(await qmp.migrationEnds()).toEqual({ status: 'cancelled' });
    const of = (name: string): string[] => qmp.events.filter((event) => event.startsWith(name));
    expect(of('MIGRATION')).toEqual(['MIGRATION setup', 'MIGRATION cancelling', 'MIGRATION cancelled']);
    expect(of('LIVE_UPDATE')).toEqual(['LIVE_UPDATE started', 'LIVE_UPDATE failed']);
    await useExec();
    await qmp.cmd('migrate', { uri });
    expect(await qmp.migrationEnds()).toMatchObject({ status: 'completed' });
    await qmp.cmd('migrate_cancel');
    expect(await qmp.cmd('query-migrate')).toMatchObject({ status: 'completed' });
  });
});
