import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';

import { eventfdRead } from '../../../platform/libc/eventfd.ts';
import { HostProcess } from '../../../tools/launch/host.ts';
import { kexec } from '../../../vmm/client/kexec.ts';
import { ask, DATA, statusOf, T_IN } from '../virtio/disk-driver.ts';
import { DriverQueue, PlainMemory } from '../virtio/driver.ts';
import { HeldDevice, MEMORY_BYTES } from '../virtio/held-device.ts';
import { bringUpByRegisters, COMMON, DRIVER_OK } from '../virtio/pci-driver.ts';

const SECTOR = 512;

let dir: string;
let host: HostProcess;
let memory: PlainMemory;
const held: HeldDevice[] = [];

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'livevmm-virtio-kexec-'));
  writeFileSync(
    join(dir, 'disk'),
    Uint8Array.from({ length: 4 * SECTOR }, (_, i) => (i * 31 + (i >> 9)) & 0xff),
  );
  host = await HostProcess.start([`virtio-blk,drive=${join(dir, 'disk')}`], ['--pkernfs', '64M']);
});
afterAll(async () => {
  await host.stop();
  for (const each of held) each.close();
  rmSync(dir, { recursive: true });
});

function hold(again: boolean): HeldDevice {
  const device = new HeldDevice(host, 1, { again });
  held.push(device);
  return device;
}

/** Reads a sector: what came, once the queue has interrupted. */
async function read({ registers, events }: HeldDevice, queue: DriverQueue, sector: number): Promise<Buffer> {
  memory.bytes.fill(0, DATA, DATA + SECTOR);
  ask({ memory, queue, registers }, T_IN, sector, SECTOR);
  await expect.poll(() => eventfdRead(events[0]!), { timeout: 10_000 }).toBe(1);
  expect(statusOf(memory)).toBe(0);
  return Buffer.from(memory.bytes.subarray(DATA, DATA + SECTOR));
}

it('a virtio device goes on with its queue in the next kernel of its host, without a reset (PKF-3, PKF-6)', async () => {
  const first = hold(false);
  memory = new PlainMemory(new Uint8Array(first.ram.buffer, 0, MEMORY_BYTES));
  const queue = new DriverQueue(memory, 0x1000, 16);
  const disk = readFileSync(join(dir, 'disk'));
  expect(bringUpByRegisters(first.registers, [queue])).toBe(DRIVER_OK);
  expect(await read(first, queue, 2)).toEqual(disk.subarray(2 * SECTOR, 3 * SECTOR));
  await kexec(first.client);
  const next = hold(true);
  expect(next.registers.read(COMMON.status, 1)).toBe(DRIVER_OK);
  expect(await read(next, queue, 3)).toEqual(disk.subarray(3 * SECTOR));
});
