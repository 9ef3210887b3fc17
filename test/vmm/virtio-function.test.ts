/**
 * Guests that drive a virtio function on PCI behind their own IOMMU, or by messages: over updates
 * of their VMM, and on QEMU.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';

import { QEMU } from '../../tools/demo/qemu/command.ts';
import { guestPath } from '../../tools/launch/programs.ts';
import { GUEST_IOMMU_SHOWS } from './machine/guest-iommu-shows.ts';
import { updateEnded, VmmProcess } from './vmm-process.ts';

const TIMEOUT_MS = 60_000;
const RNG = ['-device', 'virtio-rng-pci,iommu_platform=on,disable-legacy=on'];
const GUESTS = [
  {
    guest: 'guest-iommu',
    counts: 'faults',
    machine: ['-M', 'virt,aia=none,iommu-sys=on', ...RNG],
    shows: GUEST_IOMMU_SHOWS,
  },
  {
    guest: 'messages',
    counts: 'messages',
    machine: ['-M', 'virt,aia=aplic-imsic', ...RNG],
    shows: 'messages: ready\n',
  },
] as const;

const [program, ...words] = QEMU as [string, ...string[]];
const version = spawnSync(program, [...words, '--version'], { encoding: 'utf8' }).stdout ?? '';
/** iommu-sys came with 9.2; here the first number decides. */
const hasUnit = Number(/version (\d+)/.exec(version)?.[1] ?? 0) >= 10;

describe.each(GUESTS)('the guest $guest', ({ guest, counts, machine, shows }) => {
  it('loses nothing of what its device does over updates', async () => {
    const vmm = new VmmProcess(guest, ...machine);
    try {
      await vmm.prints(/: ready\n/);
      expect(vmm.output).toBe(shows);
      const monitor = await vmm.monitor();
      for (const mode of ['exec', 'transfer']) {
        const before = await vmm.stats();
        const ended = monitor.nextEvent(updateEnded, TIMEOUT_MS);
        await monitor.execute('live-update', { mode, probation: 0 });
        expect((await ended).data).toMatchObject({ status: 'completed' });
        let stats = await vmm.stats();
        for (; stats[counts]! < before[counts]! + 5; stats = await vmm.stats()) await sleep(10);
        expect([stats.bad, stats.lost]).toEqual([0, 0]);
      }
      monitor.close();
      vmm.child.stdin.write('x');
      expect(await vmm.exited).toEqual([0, null]);
    } finally {
      expect(await vmm.end()).toEqual([]);
    }
  });

  it.runIf(hasUnit)('sees the same on QEMU', async () => {
    const place = ['-m', '64M', '-bios', 'none', '-kernel', guestPath(guest), '-display', 'none', '-monitor', 'none'];
    const argv = [...words, ...machine, ...place, '-serial', 'stdio'];
    const qemu = spawn(program, argv, { stdio: ['pipe', 'pipe', 'ignore'] });
    let printed = '';
    for await (const chunk of qemu.stdout.iterator({ destroyOnReturn: false })) {
      printed += chunk;
      if (printed.length >= shows.length) break;
    }
    qemu.kill();
    await once(qemu, 'exit');
    expect(printed).toBe(shows);
  });
});
