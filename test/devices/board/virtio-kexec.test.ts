import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, expect, it } from 'vitest';

import { VFIO_PCI_MSIX_IRQ_INDEX } from '../../../iommu/abi/vfio.ts';
import { EFD_CLOEXEC, EFD_NONBLOCK, eventfd, eventfdRead } from '../../../platform/libc/eventfd.ts';
import { close } from '../../../platform/libc/fd.ts';
import { Mapping } from '../../../platform/memory.ts';
import { HostProcess } from '../../../tools/launch/host.ts';
import { joinContainer, openEmptyContainer, setIommu } from '../../../vmm/client/container.ts';
import { describeDevice, enableDevice, VfioDevice } from '../../../vmm/client/device.ts';
import { mapDma, READ_WRITE } from '../../../vmm/client/dma.ts';
import { openDevice } from '../../../vmm/client/group.ts';
import { setIrqs } from '../../../vmm/client/irqs.ts';
import { KernelClient } from '../../../vmm/client/kernel-client.ts';
import { kexec } from '../../../vmm/client/kexec.ts';
import {
  createPersistent,
  findPersistent,
  LIVE_UPDATE,
  openPersistent,
  setPersistentTables,
} from '../../../vmm/client/pkernfs.ts';
import { ask, DATA, statusOf, T_IN } from '../virtio/disk-driver.ts';
import { DriverQueue, MEMORY_BASE, PlainMemory } from '../virtio/driver.ts';
import { bringUpByRegisters, COMMON, DRIVER_OK, type VirtioRegisters } from '../virtio/pci-driver.ts';

const SECTOR = 512;
const SIZE = 4 * 2 ** 20;
const TYPE1V2 = 3;

let dir: string;
let host: HostProcess;
let ram: Mapping;
let memory: PlainMemory;
const events: number[] = [];

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
  for (const fd of events) close(fd);
  rmSync(dir, { recursive: true });
});

/** A driver's hold on the disk in one kernel: memory, device, interrupt of the queue. */
class Hold {
  readonly client = new KernelClient(host.socket);
  readonly registers: VirtioRegisters;
  readonly event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

  constructor(flags: number) {
    const { client } = this;
    const [{ bdf, group }] = host.devices as [(typeof host.devices)[number]];
    events.push(this.event);
    const container = openEmptyContainer(client);
    setPersistentTables(client, container, openPersistent(client, 'iommu/dom-0'));
    const groupFd = joinContainer(client, group, container);
    setIommu(client, container, TYPE1V2);
    const fd = openDevice(client, groupFd, bdf);
    const object = (flags === LIVE_UPDATE ? findPersistent : createPersistent)(client, 'ram', SIZE);
    const here = new Mapping(object, SIZE);
    close(object);
    mapDma(client, container, { iova: MEMORY_BASE, size: SIZE, vaddr: here.vaddr, flags });
    if (flags !== LIVE_UPDATE) ram = here;
    setIrqs(client, fd, { index: VFIO_PCI_MSIX_IRQ_INDEX, start: 1, eventfds: [this.event] });
    enableDevice(client, fd);
    const device = new VfioDevice(describeDevice(client, fd, bdf), client);
    this.registers = {
      read: (at, size) => device.readBar(4, at, size).lo,
      write: (at, size, value) => device.writeBar(4, at, size, { lo: value >>> 0, hi: 0 }),
    };
  }

  /** Reads a sector: what came, and how often the queue has interrupted. */
  async read(queue: DriverQueue, sector: number): Promise<Buffer> {
    const { registers, event } = this;
    memory.bytes.fill(0, DATA, DATA + SECTOR);
    ask({ memory, queue, registers }, T_IN, sector, SECTOR);
    await expect.poll(() => eventfdRead(event), { timeout: 10_000 }).toBe(1);
    expect(statusOf(memory)).toBe(0);
    return Buffer.from(memory.bytes.subarray(DATA, DATA + SECTOR));
  }
}

it('a virtio device goes on with its queue in the next kernel of its host, without a reset (PKF-3, PKF-6)', async () => {
  const first = new Hold(READ_WRITE);
  memory = new PlainMemory(new Uint8Array(ram.buffer, 0, SIZE));
  const queue = new DriverQueue(memory, 0x1000, 16);
  const disk = readFileSync(join(dir, 'disk'));
  expect(bringUpByRegisters(first.registers, [queue])).toBe(DRIVER_OK);
  expect(await first.read(queue, 2)).toEqual(disk.subarray(2 * SECTOR, 3 * SECTOR));
  await kexec(first.client);
  const next = new Hold(LIVE_UPDATE);
  expect(next.registers.read(COMMON.status, 1)).toBe(DRIVER_OK);
  expect(await next.read(queue, 3)).toEqual(disk.subarray(3 * SECTOR));
});
