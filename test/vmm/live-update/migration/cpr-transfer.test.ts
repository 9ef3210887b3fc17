import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { HostClient } from '../../../../tools/clients/host-client.ts';
import { HostProcess } from '../../../../tools/launch/host.ts';
import { QmpScript } from '../../qmp-script.ts';
import { VmmProcess } from '../../vmm-process.ts';

/** A script for QEMU's cpr-transfer drives livevmm: its user starts the destination. */

let vmm: VmmProcess;
let qmp: QmpScript;
const others: VmmProcess[] = [];

beforeEach(async () => {
  vmm = new VmmProcess('demo');
  await vmm.prints(/demo: .*\n/);
  qmp = await QmpScript.connect(vmm.qmpPath);
  await qmp.cmd('migrate-set-capabilities', { capabilities: [{ capability: 'events', state: true }] });
  await qmp.cmd('migrate-set-parameters', { mode: 'cpr-transfer' });
});

afterEach(async () => {
  qmp.close();
  for (const other of others.splice(0)) expect(await other.end()).toEqual([]);
  expect(await vmm.end()).toEqual([]);
});

const path = (name: 'main' | 'cpr'): string => join(vmm.dir, `${name}.sock`);
const channel = (name: 'main' | 'cpr') => ({
  'channel-type': name,
  addr: { transport: 'socket', type: 'unix', path: path(name) },
});
const channels = () => [channel('main'), channel('cpr')];

/** The destination as QEMU's documentation starts it; it listens when this resolves. */
async function startDestination(...args: string[]): Promise<VmmProcess> {
  const incoming = ['-incoming', `unix:${path('main')}`, '-incoming', JSON.stringify(channel('cpr'))];
  const destination = new VmmProcess('demo', ...incoming, ...args);
  others.push(destination);
  await expect.poll(() => [existsSync(path('main')), existsSync(path('cpr'))], POLL).toEqual([true, true]);
  return destination;
}

const POLL = { timeout: 60_000, interval: 20 };
const migrationEvents = (): string[] => qmp.events.filter((event) => !event.startsWith('LIVE_UPDATE'));

describe('cpr-transfer', () => {
  it('moves the guest to the VMM that waits, which opens its own monitor; the old one is postmigrate', async () => {
    const destination = await startDestination();
    await vmm.stats();
    await qmp.cmd('migrate', { channels: channels() });
    expect(await qmp.migrationEnds()).toMatchObject({ status: 'completed' });
    expect(await qmp.cmd('query-status')).toEqual({ status: 'postmigrate', running: false });
    expect(migrationEvents()).toEqual([
      'MIGRATION setup',
      'MIGRATION active',
      'STOP',
      'MIGRATION device',
      'MIGRATION completed',
    ]);

    const there = await QmpScript.connect(destination.qmpPath);
    expect(await there.cmd('query-status')).toEqual({ status: 'running', running: true });
    expect(await there.cmd('query-migrate')).toMatchObject({
      status: 'completed',
      'x-live-update': { mode: 'transfer', generation: 1, pid: destination.pid },
    });
    await expect(qmp.cmd('cont')).rejects.toThrow(`process ${destination.pid} has the guest`);
    await qmp.cmd('quit');
    expect(await vmm.exited).toEqual([0, null]);

    expect(await destination.stats()).toMatchObject({ framesLost: 0 });
    await there.cmd('live-update');
    expect(await there.migrationEnds()).toMatchObject({ 'x-live-update': { generation: 2, pid: destination.pid } });
    there.close();
  });

  it('fails while the guest runs on, if nobody listens', async () => {
    await qmp.cmd('migrate', { channels: channels() });
    expect(await qmp.migrationEnds()).toEqual({
      status: 'failed',
      'error-desc': `Failed to connect to '${path('main')}': No such file or directory`,
    });
    expect(migrationEvents()).toEqual(['MIGRATION setup', 'MIGRATION failed']);
    await vmm.stats();
  });

  it('fails while the guest runs on, if the destination is another machine', async () => {
    const destination = await startDestination('-m', '128M');
    await qmp.cmd('migrate', { channels: channels() });
    const reason = 'memory 134217728, but this VMM has 67108864: an update does not change the machine';
    expect(await qmp.migrationEnds()).toEqual({
      status: 'failed',
      'error-desc': `the successor is not ready: ${reason}`,
    });
    expect(migrationEvents()).toEqual(['MIGRATION setup', 'MIGRATION failed']);
    expect(await destination.exited).toEqual([1, null]);
    expect(destination.errors).toBe(`vmm: ${reason}\n`);
    await vmm.stats();
  });
});

describe('cpr-transfer with a passed-through device', () => {
  let host: HostProcess;
  let source: VmmProcess;
  let there: QmpScript;

  beforeEach(async () => {
    host = await HostProcess.start(['capture']);
    const device = ['--host', host.socket, '--device', `vfio-pci,host=${host.devices[0]!.bdf}`];
    source = new VmmProcess('demo', ...device);
    others.push(source);
    await source.prints(/demo: .*\n/);
    there = await QmpScript.connect(source.qmpPath);
    await there.cmd('migrate-set-parameters', { mode: 'cpr-transfer' });
    await startDestination(...device);
  });

  afterEach(async () => {
    there.close();
    for (const other of others.splice(0)) expect(await other.end()).toEqual([]);
    await host.stop();
  });

  it('keeps DMA going, and loses no frame', async () => {
    await there.cmd('migrate', { channels: channels() });
    expect(await there.migrationEnds()).toMatchObject({ status: 'completed' });
    await there.cmd('quit');
    const destination = others.at(-1)!;
    const stats = await destination.stats();
    expect(stats).toMatchObject({ framesLost: 0, framesCorrupt: 0 });
    const monitor = await QmpScript.connect(destination.qmpPath);
    const { bdf } = host.devices[0]!;
    // the pause may be shorter than the time between two frames
    expect(await monitor.cmd('query-migrate')).toMatchObject({ 'x-live-update': { dma: [{ bdf }] } });
    monitor.close();
    expect((await destination.stats()).framesChecked).toBeGreaterThanOrEqual(stats.framesChecked!);
    const kernel = new HostClient(host.socket);
    const { containers } = kernel.ask({ op: 'info' });
    kernel.close();
    expect(containers).toMatchObject([{ mappings: 1, invalidVaddrs: 0 }]);
  });
});

describe('a VMM that waits', () => {
  it('ends in good order when it is told to', async () => {
    const destination = await startDestination();
    destination.child.kill('SIGTERM');
    expect(await destination.exited).toEqual([143, null]);
    expect([existsSync(path('main')), existsSync(path('cpr'))]).toEqual([false, false]);
  });
});
