/**
 * QEMU, unmodified, with vfio-pci on the emulated kernel. Where there is no QEMU, or one that is
 * too old, the tests are skipped, and their names say which is needed.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { hasCprExec, qemuVersion } from '../../../tools/demo/qemu/command.ts';
import { pollingGuest } from '../../../tools/demo/qemu/polling-guest.ts';
import { HostProcess } from '../../../tools/launch/host.ts';
import { guestPath } from '../../../tools/launch/programs.ts';
import { Sandbox } from '../livevmm-process.ts';
import { QemuMachine } from './qemu.ts';

/** By profile: how many, one after the other. */
const UPDATES = [
  ['5.12', 4],
  ['6.12', 20],
  ['7.2', 4],
] as const;
/** Up to 5.19 only the process that has mapped memory can make its vaddr invalid (UNM-9). */
const TRANSFERS = [
  ['6.12', 20],
  ['7.2', 3],
] as const;
const onProfile = (profile: string): string[] => ['--vfio-profile', profile];
let host: HostProcess | undefined;
let qemu: QemuMachine | undefined;
let folder: string | undefined;

afterEach(async () => {
  await qemu?.stop();
  await host?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true });
  qemu = host = folder = undefined;
});

async function start(
  devices: readonly string[],
  guest: (folder: string) => string,
  hostOptions: readonly string[] = [],
): Promise<QemuMachine> {
  folder = mkdtempSync(join(tmpdir(), 'with-qemu-'));
  host = await HostProcess.start(devices, hostOptions);
  const bdfs = host.devices.map(({ bdf }) => bdf);
  qemu = new QemuMachine({ folder, host: host.socket, bdfs, elf: guest(folder) });
  await qemu.begun();
  return qemu;
}

const seconds = (n: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1000 * n));

const version = qemuVersion();

describe.skipIf(version === undefined)('a guest of QEMU (qemu-system-riscv64, any version)', () => {
  it('drives edu by MSI, capture by MSI-X, and ivshmem, and gets each interrupt', async () => {
    const edu = 'edu,dma-latency-ms=0,dma-mask=0xffffffffffffffff';
    const { console } = await start([edu, 'capture,msix=3', 'ivshmem-plain'], () => guestPath('demo'));
    await seconds(2);
    const facts = await console.final(60_000);

    expect(facts).toMatchObject({ framesLost: 0, framesCorrupt: 0, dmaRoundTripsBad: 0, factorialsBad: 0 });
    expect(facts).toMatchObject({ interruptsLost: 0, spurious: 0 });
    for (const count of [facts.framesChecked, facts.dmaRoundTripsOk, facts.factorialsOk, facts.interrupts]) {
      expect(count).toBeGreaterThan(0);
    }
  });
});

const CAPTURES = ['capture,flr=on,intx=off', 'capture,flr=on,intx=off'];

describe.skipIf(!hasCprExec(version))('QEMU updates itself (qemu-system-riscv64 of 10.2 or later)', () => {
  it.each(UPDATES)(
    'by cpr-exec on %s: in %i no frame is lost, devices DMA in each, and no page table is written',
    async (profile, count) => {
      const machine = await start(CAPTURES, pollingGuest, onProfile(profile));
      const before = await machine.console.stats(60_000);
      const updates = [];
      for (let i = 0; i < count; i++) updates.push(await machine.update());
      await seconds(1);
      const after = await machine.console.final(60_000);

      expect(after).toMatchObject({ framesLost: 0, framesCorrupt: 0, captures: 2 });
      expect(after.framesChecked).toBeGreaterThan(before.framesChecked);
      expect(updates.map(({ pteWrites }) => pteWrites)).toEqual(updates.map(() => 0));
      const dma = updates.flatMap(({ execNs: fromNs, monitorNs: toNs }) =>
        host!.devices.map(({ bdf }) => machine.host.ask({ op: 'timeline', bdf, fromNs, toNs }).transactions),
      );
      expect(dma.every((transactions) => transactions > 0)).toBe(true);
    },
  );

  it.each(TRANSFERS)(
    'by cpr-transfer on %s: in %i to a process under another supervisor no frame is lost',
    async (profile, transfers) => {
      const machine = await start(CAPTURES, pollingGuest, onProfile(profile));
      const before = await machine.console.stats(60_000);
      const pteWrites = [];
      for (let i = 0; i < transfers; i++) pteWrites.push(await machine.transfer());
      await seconds(1);
      const after = await machine.console.final(60_000);

      expect(after).toMatchObject({ framesLost: 0, framesCorrupt: 0, captures: 2 });
      expect(after.framesChecked).toBeGreaterThan(before.framesChecked);
      expect(pteWrites).toEqual(pteWrites.map(() => 0));
    },
    120_000,
  );

  it('as a demo, with a verdict and a report', async () => {
    const sandbox = new Sandbox();
    const report = join(sandbox.dir, 'report.html');
    try {
      const { status, stdout, stderr } = await sandbox.run(
        ...['demo', '--vmm', 'qemu', '--updates', '3', '--json', '--report', report],
      );
      const { verdict, failures, updates } = JSON.parse(stdout);
      expect({ status, stderr, verdict, failures }).toEqual({ status: 0, stderr: '', verdict: 'pass', failures: [] });
      expect(updates).toHaveLength(3);
      expect(readFileSync(report, 'utf8').match(/<h3>Update/g)).toHaveLength(3);
      expect(sandbox.leftovers()).toEqual([]);
    } finally {
      sandbox.remove();
    }
  }, 60_000);

  it.each([
    ['is not there', 'goes on', ['/no/such/program']],
    ['ends at once', 'is lost', ['/bin/false']],
    ['crashes', 'is lost', ['/bin/sh', '-c', 'kill -SEGV $$']],
  ])('its successor %s: the guest %s, and the host is clean afterwards', async (_, guest, command) => {
    const machine = await start(CAPTURES, pollingGuest);
    await machine.console.stats(60_000);
    expect(await machine.attempt(command)).toBe(guest);
    await machine.stop();
    qemu = undefined;
    await vi.waitFor(() => {
      const { containers, groups } = machine.hostInfo();
      expect({ containers, open: groups.map(({ open }) => open) }).toEqual({ containers: [], open: [false, false] });
    });
  });
});
