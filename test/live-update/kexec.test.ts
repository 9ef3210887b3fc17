import { cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { kexecUnder } from '../../tools/clients/kexec.ts';
import { liveUpdate } from '../../tools/clients/live-update.ts';
import { demoGuest } from '../../tools/demo/guests.ts';
import { Machine } from '../../tools/launch/machine.ts';
import { guestPath } from '../../tools/launch/programs.ts';

const DIST = fileURLToPath(new URL('../../dist', import.meta.url));

let machine: Machine;
let folder: string;

/** The host's kernel is replaced, and the VMM with it. */
async function kexec(to?: string) {
  const [after] = await kexecUnder(undefined, [{ qmpPath: machine.qmpSocket, qmp: machine.qmp }], { to });
  machine.reconnect(after!.qmp);
  return after!.report;
}

const info = () => machine.host.ask({ op: 'info' });

/** Waits until the guest has had 5 more heartbeats, and says what it has counted. */
async function lives() {
  const { heartbeats } = await machine.console.stats(5000);
  await expect
    .poll(async () => (await machine.console.stats(5000)).heartbeats, { timeout: 20_000 })
    .toBeGreaterThan(heartbeats + 5);
  return machine.console.stats(5000);
}

describe('a guest over a kexec of its host’s kernel (PKF-3, PKF-6)', () => {
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'livevmm-kexec-'));
    symlinkSync(join(DIST, '../node_modules'), join(folder, 'node_modules')); // for builds that are copied there
    machine = await Machine.start({
      devices: ['edu,dma-latency-ms=0,dma-mask=0xffffffffffffffff', 'capture,msix=3'],
      memory: '32M',
      kernel: guestPath('demo'),
      hostOptions: ['--pkernfs', '96M'],
      vmmOptions: ['--pkernfs', 'guest'],
    });
    const guest = demoGuest(machine);
    await expect.poll(() => guest.atWork(), { timeout: 30_000 }).toBe(true);
  });
  afterEach(async () => {
    await machine.stop();
    rmSync(folder, { recursive: true });
  });

  it('goes on in the next kernel and in that of another build, and can be updated there', async () => {
    const other = join(folder, 'other');
    cpSync(DIST, other, { recursive: true });
    const first = await kexec();
    await lives();
    const update = await liveUpdate(machine.qmp);
    const second = await kexec(other);
    const { framesCorrupt, interruptsLost } = await lives(); // a slow machine overruns the ring
    expect([first.generation, update.generation, second.generation]).toEqual([1, 2, 3]);
    expect({ framesCorrupt, interruptsLost }).toEqual({ framesCorrupt: 0, interruptsLost: 0 });
    const { devices, units, kernel } = info();
    expect(devices.map(({ faults }) => faults)).toEqual([0, 0]);
    expect([units[0]!.pteWrites, kernel.kexecs]).toEqual([0, 2]);
  });

  it('goes on as before when there is no such kernel', async () => {
    await expect(kexec('/nowhere')).rejects.toThrow('there is no kernel');
    await lives();
    expect(info().kernel.kexecs).toBe(0);
  });

  it('ends in one line under a kernel that does not know pkernfs, which finds all devices stopped', async () => {
    const old = join(folder, 'old');
    cpSync(DIST, old, { recursive: true });
    writeFileSync(join(old, 'build.json'), '{"board":2}\n');
    kexec(old).catch(() => undefined); // nobody comes back
    await machine.vmm.exited;
    expect(machine.vmm.errors).toMatch(/^vmm: .*\/dev\/pkernfs.*$/m);
    expect(machine.hostProcess.errors).toMatch(/does not know pkernfs: devices are stopped/);
    machine.reconnect(machine.qmp);
    const before = info().devices.map(({ transactions }) => transactions);
    const { nowNs } = info();
    await expect.poll(() => info().nowNs).toBeGreaterThan(nowNs + 50e6); // 25 frames of capture
    expect(info().devices.map(({ transactions }) => transactions)).toEqual(before);
  });
});
