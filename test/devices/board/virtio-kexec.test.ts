import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';

import { eventfdRead } from '../../../platform/libc/eventfd.ts';
import { HostProcess } from '../../../tools/launch/host.ts';
import { askHost } from '../../../vmm/client/control.ts';
import { kexec } from '../../../vmm/client/kexec.ts';
import { isOffered } from '../../offered.ts';
import { canHoldThreads, HeldThread, readBy, readerOf } from '../slow-disk/held-thread.ts';
import { ask, DATA, statusOf, T_IN, UNTOUCHED } from '../virtio/disk-driver.ts';
import { DriverQueue, PlainMemory } from '../virtio/driver.ts';
import { HeldDevice, MEMORY_BYTES } from '../virtio/held-device.ts';
import { bringUpByRegisters, COMMON, DRIVER_OK } from '../virtio/pci-driver.ts';

const SECTOR = 512;
const DISK_BYTES = 1 << 20;
/** More than any other thread of the host reads meanwhile. */
const LONG = DISK_BYTES / 2;

const canHold = isOffered(canHoldThreads, 'a disk that does not answer: x86-64');

let dir: string;
let host: HostProcess;
let memory: PlainMemory;
const held: HeldDevice[] = [];

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'livevmm-virtio-kexec-'));
  writeFileSync(
    join(dir, 'disk'),
    Uint8Array.from({ length: DISK_BYTES }, (_, i) => (i * 31 + (i >> 9)) & 0xff),
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

/** Tells the device of a request to read. */
function beginRead({ registers }: HeldDevice, queue: DriverQueue, sector: number, length = SECTOR): void {
  memory.bytes.fill(0, DATA, DATA + length);
  ask({ memory, queue, registers }, T_IN, sector, length);
}

/** What came, once the queue has interrupted. */
async function whatCame({ events }: HeldDevice, length = SECTOR): Promise<Buffer> {
  await expect.poll(() => eventfdRead(events[0]!), { timeout: 10_000 }).toBe(1);
  expect(statusOf(memory)).toBe(0);
  return Buffer.from(memory.bytes.subarray(DATA, DATA + length));
}

async function read(device: HeldDevice, queue: DriverQueue, sector: number, length = SECTOR): Promise<Buffer> {
  beginRead(device, queue, sector, length);
  return whatCame(device, length);
}

/** Starts the device in this kernel, with an empty queue. */
function startDevice(device: HeldDevice): DriverQueue {
  memory = new PlainMemory(new Uint8Array(device.ram.buffer, 0, MEMORY_BYTES));
  const queue = new DriverQueue(memory, 0x1000, 16);
  expect(bringUpByRegisters(device.registers, [queue])).toBe(DRIVER_OK);
  return queue;
}

const bytesWritten = ({ client }: HeldDevice): number => askHost(client, { op: 'info' }).devices[0]!.bytesWritten;

it('a virtio device goes on with its queue in the next kernel of its host, without a reset (PKF-3, PKF-6)', async () => {
  const first = hold(false);
  const queue = startDevice(first);
  const disk = readFileSync(join(dir, 'disk'));
  expect(await read(first, queue, 2)).toEqual(disk.subarray(2 * SECTOR, 3 * SECTOR));
  await kexec(first.client);
  const next = hold(true);
  expect(next.registers.read(COMMON.status, 1)).toBe(DRIVER_OK);
  expect(await read(next, queue, 3)).toEqual(disk.subarray(3 * SECTOR, 4 * SECTOR));
});

it.runIf(canHold)('a request that its disk answers between two kernels is done once (PKF-6)', async () => {
  const first = held.at(-1) ?? hold(false);
  const queue = startDevice(first);
  const disk = readFileSync(join(dir, 'disk'));
  const [threads, before] = [readBy(host.child.pid), bytesWritten(first)];
  expect((await read(first, queue, 0, LONG)).equals(disk.subarray(0, LONG))).toBe(true);
  const perRead = bytesWritten(first) - before;
  queue.takeUsed();
  const thread = await HeldThread.seize(readerOf(host.child.pid, threads));
  let listens: Promise<void>;
  try {
    beginRead(first, queue, LONG / SECTOR, LONG);
    await thread.stands();
    listens = kexec(first.client); // the first kernel is gone when this returns
    expect([statusOf(memory), queue.takeUsed()]).toEqual([UNTOUCHED, []]);
  } finally {
    await thread.release();
  }
  await listens;
  const next = hold(true);
  expect((await whatCame(next, LONG)).equals(disk.subarray(LONG))).toBe(true);
  expect([queue.takeUsed().length, bytesWritten(next)]).toEqual([1, before + 2 * perRead]);
});
