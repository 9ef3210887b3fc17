/** Two VMs on a network, and updates of both: no frame is lost, none comes twice. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { standingGuardian } from '../../tools/clients/guardians.ts';
import type { QmpClient } from '../../tools/clients/qmp-client.ts';
import { Child } from '../../tools/launch/child.ts';
import { guestPath } from '../../tools/launch/programs.ts';
import { inTurn, isTurn } from '../turn.ts';
import { updateEnded, VmmProcess } from './vmm-process.ts';

const TIMEOUT_MS = 60_000;
const MAC = '52:54:00:00:00:0';
const QEMU = 'qemu-system-riscv64';
const QEMU_WORDS = [
  ...['-M', 'virt', '-bios', 'none', '-kernel', guestPath('net')],
  ...['-display', 'none', '-monitor', 'none', '-serial', 'stdio', '-global', 'virtio-mmio.force-legacy=false'],
];

let folder: string;
let stations: VmmProcess[];
const monitors: QmpClient[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'livevmm-network-'));
  stations = [];
});
afterEach(async () => {
  for (const monitor of monitors.splice(0)) monitor.close();
  for (const station of stations) expect(await station.end()).toEqual([]);
  rmSync(folder, { recursive: true });
});

const socket = (name: string): string => join(folder, name);

/** The station 10.0.2.N of the guest `net`; its socket is named N. */
async function station(n: 1 | 2, transport: 'device' | 'pci', ...options: readonly string[]): Promise<VmmProcess> {
  const paths = `local.type=unix,local.path=${socket(`${n}`)},remote.type=unix,remote.path=${socket(`${n ^ 3}`)}`;
  return on(n, transport, `dgram,id=n,${paths}`, ...options);
}

/** The same on any wire. */
async function on(
  n: 1 | 2,
  transport: 'device' | 'pci',
  netdev: string,
  ...options: readonly string[]
): Promise<VmmProcess> {
  const device = `virtio-net-${transport},netdev=n,mac=${MAC}${n}`;
  const words = ['--machine', 'virt,aia=none', '--netdev', netdev, '--device', device];
  const vmm = new VmmProcess('net', ...words, ...options);
  stations.push(vmm);
  await vmm.prints(/station .*\n/);
  return vmm;
}

async function monitorOf(vmm: VmmProcess): Promise<QmpClient> {
  const monitor = await vmm.monitor();
  monitors.push(monitor);
  return monitor;
}

/** Resolves when the station has had this many more answers. */
async function answers(vmm: VmmProcess, more: number): Promise<Record<string, number>> {
  const from = (await vmm.stats()).answers!;
  for (;;) {
    const stats = await vmm.stats();
    if (stats.answers! >= from + more) return stats;
    await sleep(20);
  }
}

async function update(monitor: QmpClient, mode: string): Promise<void> {
  const [{ data }] = await Promise.all([
    monitor.nextEvent(updateEnded, TIMEOUT_MS),
    monitor.execute('live-update', { mode, probation: 0 }),
  ]);
  expect(data).toMatchObject({ status: 'completed' });
}

describe('two guests on a network', () => {
  it('lose no frame while both of their VMMs are replaced, again and again', async () => {
    const [one, two] = [await station(1, 'device'), await station(2, 'device')];
    const [first, second] = [await monitorOf(one), await monitorOf(two)];
    one.child.stdin.write('p');
    await answers(one, 10);
    for (const mode of inTurn(['exec', 'transfer'])) {
      await update(first, mode);
      await update(second, mode);
    }
    await Promise.all([update(first, 'exec'), update(second, 'exec')]);
    const { pings, answers: had, lost, bad } = await answers(one, 10);
    expect({ lost, bad }).toEqual({ lost: 0, bad: 0 });
    expect(pings! - had!).toBeLessThanOrEqual(1);
    expect((await two.stats()).answered).toBeGreaterThanOrEqual(had!);
    for (const vmm of [one, two]) vmm.child.stdin.write('x');
    expect([await one.exited, await two.exited]).toEqual([
      [0, null],
      [0, null],
    ]);
    expect([existsSync(socket('1')), existsSync(socket('2'))]).toEqual([false, false]);
  });

  it.runIf(isTurn(0, 2))('lose no frame on a stream, either, whose client waits for its server', async () => {
    const wire = `stream,id=n,addr.type=unix,addr.path=${socket('wire')}`;
    const two = await on(2, 'device', `${wire},server=off,reconnect-ms=100`);
    const one = await on(1, 'device', `${wire},server=on`);
    const monitor = await monitorOf(one);
    const other = await monitorOf(two);
    one.child.stdin.write('p');
    await answers(one, 10);
    await Promise.all([update(monitor, 'exec'), update(other, 'exec')]);
    const { lost, bad } = await answers(one, 10);
    expect(bad).toBe(0);
    expect(lost).toBeLessThanOrEqual(1); // the first ping, while there is no connection
    for (const vmm of [one, two]) vmm.child.stdin.write('x');
    expect([await one.exited, await two.exited].map(([status]) => status)).toEqual([lost === 0 ? 0 : 1, 0]);
    expect(existsSync(socket('wire'))).toBe(false);
  });

  it.runIf(isTurn(1, 2))('go on when one of the VMMs is killed and its guardian runs the guest', async () => {
    const [one, two] = [await station(1, 'device', '--guardian', 'always'), await station(2, 'device')];
    const monitor = await monitorOf(one);
    await standingGuardian(monitor, TIMEOUT_MS);
    one.child.stdin.write('p');
    await answers(one, 10);
    const taken = monitor.nextEvent(({ event }) => event === 'TAKEOVER', TIMEOUT_MS);
    process.kill(one.pid, 'SIGKILL');
    await taken;
    const { lost, bad } = await answers(one, 10);
    expect(lost! + bad!).toBeLessThanOrEqual(2); // a frame in the moment of the death
    expect(existsSync(socket('1'))).toBe(true);
    two.child.stdin.write('x');
    await two.exited;
  });

  it.runIf(spawnSync(QEMU, ['--version']).status === 0)('reach each other, too, if one is on QEMU', async () => {
    const one = await station(1, 'device');
    const paths = `local.type=unix,local.path=${socket('2')},remote.type=unix,remote.path=${socket('1')}`;
    const other = new Child({
      name: 'QEMU',
      argv: [
        QEMU,
        ...QEMU_WORDS,
        '-netdev',
        `dgram,id=n,${paths}`,
        '-device',
        `virtio-net-device,netdev=n,mac=${MAC}2`,
      ],
      detached: false,
    });
    let printed = '';
    for await (const chunk of other.stdout.iterator({ destroyOnReturn: false })) {
      printed += chunk;
      if (printed.includes('station 10.0.2.2')) break;
    }
    one.child.stdin.write('p');
    const { lost, bad } = await answers(one, 20);
    expect({ lost, bad }).toEqual({ lost: 0, bad: 0 });
    await other.stop();
  });

  it('are refused a socket that another VMM has', async () => {
    await station(1, 'device');
    await expect(station(1, 'device')).rejects.toThrow(`vmm: -netdev: ${socket('1')}: somebody is listening there`);
  });
});
