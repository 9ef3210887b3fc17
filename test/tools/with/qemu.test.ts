/**
 * QEMU, unmodified, with vfio-pci on the emulated kernel. Where there is no QEMU, or one that is
 * too old, the tests are skipped, and their names say which is needed.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';

import { HostProcess } from '../../../tools/launch/host.ts';
import { guestPath } from '../../../tools/launch/programs.ts';
import { hasCprExec, pollingGuest, QemuMachine, qemuVersion } from './qemu.ts';

const UPDATES = 20;
let host: HostProcess | undefined;
let qemu: QemuMachine | undefined;
let folder: string | undefined;

afterEach(async () => {
  await qemu?.stop();
  await host?.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true });
  qemu = host = folder = undefined;
});

async function start(devices: readonly string[], guest: (folder: string) => string): Promise<QemuMachine> {
  folder = mkdtempSync(join(tmpdir(), 'with-qemu-'));
  host = await HostProcess.start(devices);
  const bdfs = host.devices.map(({ bdf }) => bdf);
  qemu = await QemuMachine.start({ folder, host: host.socket, bdfs, elf: guest(folder) });
  return qemu;
}

const seconds = (n: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1000 * n));

describe.skipIf(qemuVersion === undefined)('a guest of QEMU (qemu-system-riscv64, any version)', () => {
  it('drives edu, capture and ivshmem, and gets each MSI', async () => {
    const edu = 'edu,dma-latency-ms=0,dma-mask=0xffffffffffffffff';
    const { console } = await start([edu, 'capture', 'ivshmem-plain'], () => guestPath('demo'));
    await seconds(2);
    const facts = await console.final(60_000);

    expect(facts).toMatchObject({ framesLost: 0, framesCorrupt: 0, dmaRoundTripsBad: 0, factorialsBad: 0 });
    expect(facts).toMatchObject({ interruptsLost: 0, spurious: 0 });
    for (const count of [facts.framesChecked, facts.dmaRoundTripsOk, facts.factorialsOk, facts.interrupts]) {
      expect(count).toBeGreaterThan(0);
    }
  });
});

describe.skipIf(!hasCprExec)('cpr-exec of QEMU (qemu-system-riscv64 of 10.2 or later)', () => {
  it(`loses no frame in ${UPDATES} updates, while the device DMAs in each and no page table is written`, async () => {
    const machine = await start(['capture,flr=on,intx=off', 'capture,flr=on,intx=off'], pollingGuest);
    const before = await machine.console.stats(60_000);
    const updates = [];
    for (let i = 0; i < UPDATES; i++) updates.push(await machine.update());
    await seconds(1);
    const after = await machine.console.final(60_000);

    expect(after).toMatchObject({ framesLost: 0, framesCorrupt: 0, captures: 2 });
    expect(after.framesChecked).toBeGreaterThan(before.framesChecked);
    expect(updates.map(({ pteWrites }) => pteWrites)).toEqual(updates.map(() => 0));
    const dma = updates.flatMap(({ execNs: fromNs, monitorNs: toNs }) =>
      host!.devices.map(({ bdf }) => machine.host.ask({ op: 'timeline', bdf, fromNs, toNs }).transactions),
    );
    expect(dma.every((transactions) => transactions > 0)).toBe(true);
  });
});
