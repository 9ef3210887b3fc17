import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { REG } from '../../../devices/edu/regs.ts';
import {
  VFIO_DEVICE_SET_IRQS,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_PCI_MSI_IRQ_INDEX,
} from '../../../iommu/abi/vfio.ts';
import { monotonicNs } from '../../../platform/clock.ts';
import { EFD_CLOEXEC, EFD_NONBLOCK, eventfd, eventfdRead } from '../../../platform/libc/eventfd.ts';
import { close } from '../../../platform/libc/fd.ts';
import { createMemory, Mapping, objectId } from '../../../platform/memory.ts';
import { dmaMapArg, dmaUnmapArg } from '../../../vmm/client/dma.ts';
import { type EduTransfer, eduTransferWrites, isEduTransferring } from '../../../vmm/client/drivers/edu.ts';
import { deviceNameArg } from '../../../vmm/client/group.ts';
import { irqSetArg } from '../../../vmm/client/irqs.ts';
import { type GroupUser, useGroup } from './group-user.ts';
import { Connection, name } from './test-client.ts';
import { hostOfTests } from './test-host.ts';

/** The kernel worker on a real board, through its socket: what no part can show alone. */

const CONFIG = 7 * 2 ** 40;
const COMMAND = CONFIG + 4;
const SIZE = 2 << 20;

const int32 = (value: number): Uint8Array => new Uint8Array(new Int32Array([value]).buffer);
const bdf = (group: number): string => `0000:00:0${group + 2}.0`;

/** Has group `id` in a container of its own and its device open, bus master on. */
async function useGroupOf(id: number): Promise<GroupUser> {
  const user = await useGroup(await host.connect(), id, bdf(id));
  await user.client.pwrite(user.device, COMMAND, new Uint8Array([6, 0]));
  return user;
}

const map = ({ client, container }: GroupUser, vaddr: number, iova: number, size: number): Promise<number> =>
  client.ioctl(container, VFIO_IOMMU_MAP_DMA, dmaMapArg({ vaddr, iova, size }));

const arm = ({ client, device }: GroupUser, fd: number): Promise<number> =>
  client.ioctl(device, VFIO_DEVICE_SET_IRQS, irqSetArg({ index: VFIO_PCI_MSI_IRQ_INDEX, eventfds: [fd] }));

const write = ({ client, device }: GroupUser, at: number, value: number): Promise<number> =>
  client.pwrite(device, at, int32(value));

async function dma(user: GroupUser, direction: EduTransfer['direction'], iova: number, length: number): Promise<void> {
  for (const [register, value] of eduTransferWrites({ direction, iova, length })) await write(user, register, value);
  for (;;) {
    const [command] = (await user.client.pread(user.device, REG.DMA_COMMAND, 4)) as Uint8Array;
    if (!isEduTransferring(command!)) return;
  }
}

class Memory {
  readonly fd = createMemory('test', SIZE);
  readonly mapping = new Mapping(this.fd, SIZE);
  readonly bytes = new Uint8Array(this.mapping.buffer);

  free(): void {
    this.mapping.release();
    close(this.fd);
  }
}

let memory: Memory;
beforeEach(() => {
  memory = new Memory();
});
afterEach(() => memory.free());

const EDU = { type: 'edu', properties: { 'dma-latency-ms': '0' } };
const host = hostOfTests({ devices: [EDU, EDU], profile: '6.12' });

describe('a device in the hands of a client', () => {
  it('reads and writes mapped memory, and interrupts through an eventfd', async () => {
    const user = await useGroupOf(0);
    const event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    expect(await map(user, memory.mapping.vaddr, 0, SIZE)).toBe(0);
    expect(await arm(user, event)).toBe(0);
    memory.bytes.fill(0x5a, 0, 256);

    await dma(user, 'from-bus', 0, 256);
    await dma(user, 'to-bus', 0x1000, 256);
    await write(user, REG.IRQ_RAISE, 1);

    expect(memory.bytes.slice(0x1000, 0x1101)).toEqual(new Uint8Array([...new Array(256).fill(0x5a), 0]));
    await vi.waitUntil(() => eventfdRead(event) === 1);
    close(event);
  });

  it('does no DMA and sends no interrupt after its last close', async () => {
    const user = await useGroupOf(0);
    const event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    await arm(user, event);

    await user.client.close(user.device);
    const again = await user.client.ioctl(user.group, VFIO_GROUP_GET_DEVICE_FD, deviceNameArg(bdf(0)));
    await write({ ...user, device: again }, REG.IRQ_RAISE, 1);
    await user.client.pread(again, 0, 4); // the device has taken the write before

    expect(eventfdRead(event)).toBe(0);
    expect(Buffer.from((await user.client.pread(again, COMMAND, 2)) as Uint8Array).toString('hex')).toBe('0301');
    close(event);
  });

  it('is apart from another client’s device: each sees its own mappings only', async () => {
    const first = await useGroupOf(0);
    const second = await useGroupOf(1);
    await map(first, memory.mapping.vaddr, 0, SIZE);
    memory.bytes.fill(0x77, 0, 16);

    await dma(second, 'to-bus', 0, 16);

    expect(memory.bytes[0]).toBe(0x77);
    const { devices } = await second.client.control(await second.client.open('/dev/livevmm'), { op: 'info' });
    expect(devices[1]!.faults).toBeGreaterThan(0);
  });
});

describe('a client that dies', () => {
  /** A process with the fds of `user` as its own: what is left of a VMM when the rest has gone. */
  async function heir(user: GroupUser): Promise<ChildProcess> {
    const child = spawn('sleep', ['100'], {
      stdio: ['ignore', 'ignore', 'ignore', user.container, user.group, user.device],
    });
    await once(child, 'spawn');
    return child;
  }

  it('leaves all as it was while a child has its files, and nothing after (CORE-13)', async () => {
    const user = await useGroupOf(0);
    const watcher = await host.connect();
    const control = await watcher.open('/dev/livevmm');
    await map(user, memory.mapping.vaddr, 0, SIZE);
    const child = await heir(user);

    await user.client.disconnect();
    const during = await watcher.control(control, { op: 'info' });
    child.kill('SIGKILL');
    await once(child, 'exit');
    const after = await watcher.control(control, { op: 'info' });

    expect(during.containers).toMatchObject([{ groups: [0], mappings: 1, mappedBytes: SIZE }]);
    expect(during.pinnedPages).toBe(SIZE / 4096);
    expect(after.containers).toEqual([]);
    expect(after.pinnedPages).toBe(0);
    expect(after.groups[0]).toMatchObject({ group: 0, open: false });
    expect(after.devices[0]).toMatchObject({ opens: 0 });
  });

  it('in the middle of a request harms nobody, and its group can be had again', async () => {
    const user = await useGroupOf(0);
    const arg = dmaMapArg({ vaddr: memory.mapping.vaddr, iova: 0, size: SIZE });
    void user.client.channel.ask({ op: 'ioctl', fd: user.container, nr: VFIO_IOMMU_MAP_DMA, arg });

    await user.client.disconnect();

    const next = await useGroupOf(0);
    expect(await map(next, memory.mapping.vaddr, 0, SIZE)).toBe(0);
  });

  it.each([
    ['garbage', Buffer.from([4, 0, 0, 0, 0xc1, 0xc1, 0xc1, 0xc1])],
    ['a frame of 4 GiB', Buffer.from([0xff, 0xff, 0xff, 0xff])],
  ])('of %s is disconnected; the others go on', async (_, bytes) => {
    const user = await useGroupOf(1);
    const bad = await Connection.to(host.socketPath);

    bad.socket.write(bytes);

    await bad.closed;
    expect(await map(user, memory.mapping.vaddr, 0, SIZE)).toBe(0);
  });
});

describe('/dev/livevmm', () => {
  it('says who has what', async () => {
    const user = await useGroupOf(0);
    await map(user, memory.mapping.vaddr, 0x10_0000, SIZE);

    const info = await user.client.control(await user.client.open('/dev/livevmm'), { op: 'info' });

    expect(info).toMatchObject({
      profile: '6.12',
      pid: process.pid,
      devices: [
        { bdf: '0000:00:02.0', name: 'edu', group: 0, unit: 0, opens: 1 },
        { bdf: '0000:00:03.0', name: 'edu', group: 1, opens: 0 },
      ],
      groups: [
        { group: 0, devices: ['0000:00:02.0'], open: true, container: expect.any(Number) },
        { group: 1, devices: ['0000:00:03.0'], open: false },
      ],
      containers: [{ iommuType: 3, groups: [0], mappings: 1, mappedBytes: SIZE, invalidVaddrs: 0 }],
      units: [{ unit: 0, pteWrites: expect.any(Number) }],
      clients: [{ pid: process.pid, channels: 1, lockedPages: SIZE / 4096 }],
    });
    expect(info.clients[0]!.files).toEqual([
      '/dev/vfio/vfio',
      '/dev/vfio/0',
      'anon:vfio-device 0000:00:02.0',
      '/dev/livevmm',
    ]);
  });

  it('counts interrupts that reached an eventfd and those that did not', async () => {
    const user = await useGroupOf(1);
    const control = await user.client.open('/dev/livevmm');
    const counts = async (): Promise<number[]> => {
      const { devices } = await user.client.control(control, { op: 'info' });
      return [devices[1]!.interruptsRaised, devices[1]!.interruptsDropped];
    };
    const event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    await arm(user, event);
    const [raised = 0, dropped = 0] = await counts();

    await write(user, REG.IRQ_RAISE, 1);
    await arm(user, -1);
    await write(user, REG.IRQ_RAISE, 1);
    await user.client.pread(user.device, 0, 4);

    await vi.waitFor(async () => expect(await counts()).toEqual([raised + 1, dropped + 1]));
    close(event);
  });

  it('tells what a device did in a window of time', async () => {
    const user = await useGroupOf(0);
    await map(user, memory.mapping.vaddr, 0, SIZE);
    const control = await user.client.open('/dev/livevmm');
    const fromNs = monotonicNs();

    await dma(user, 'from-bus', 0, 1024);

    const toNs = monotonicNs();
    const window = { op: 'timeline', bdf: bdf(0), fromNs, toNs } as const;
    const { bytes, transactions, buckets } = await user.client.control(control, window);
    expect(bytes).toBe(1024);
    expect(transactions).toBe(1);
    expect(buckets.length).toBeGreaterThan(0);
  });

  it('hashes memory objects through the board', async () => {
    const user = await useGroupOf(0);
    await map(user, memory.mapping.vaddr, 0, SIZE);
    const control = await user.client.open('/dev/livevmm');

    const { objects } = await user.client.control(control, { op: 'ram-hash', sliceBytes: SIZE / 2 });

    const { ino } = objectId(memory.fd);
    expect(objects.find((one) => one.ino === ino)?.slices).toHaveLength(2);
  });

  it('touch-pte writes one page-table word that changes nothing', async () => {
    const user = await useGroupOf(0);
    await map(user, memory.mapping.vaddr, 0, SIZE);
    memory.bytes.fill(0x11, 0, 16);
    const control = await user.client.open('/dev/livevmm');
    const writes = async (): Promise<number> =>
      (await user.client.control(control, { op: 'info' })).units[0]!.pteWrites;
    const before = await writes();
    const fromNs = monotonicNs();

    await user.client.control(control, { op: 'inject', defect: 'touch-pte' });

    expect(await writes()).toBe(before + 1);
    const { writes: logged } = await user.client.control(control, { op: 'pte-writes', fromNs });
    expect(logged).toEqual([expect.objectContaining({ iova: '0x0', count: 1, kernel: 0 })]);
    expect(logged[0]!.after).toBe(logged[0]!.before);
    await dma(user, 'from-bus', 0, 16);
    await dma(user, 'to-bus', 0x1000, 16);
    expect(memory.bytes[0x1000]).toBe(0x11);
  });

  it('tells which entries were written, from what to what, and in whose call', async () => {
    const user = await useGroupOf(0);
    const control = await user.client.open('/dev/livevmm');
    const fromNs = monotonicNs();

    await map(user, memory.mapping.vaddr, 0x10_0000, SIZE);
    await user.client.ioctl(user.container, VFIO_IOMMU_UNMAP_DMA, dmaUnmapArg({ iova: 0x10_0000, size: SIZE }));

    const { writes, whole } = await user.client.control(control, { op: 'pte-writes', fromNs });
    const half = { level: 0, count: SIZE / 2 / 4096, pid: process.pid, kernel: 0, unit: 0 };
    const leaves = (valid: 'before' | 'after') =>
      ['0x100000', '0x200000'].map((iova) =>
        expect.objectContaining({ ...half, iova, [valid]: expect.stringMatching(/[13579bdf]$/) }),
      );
    expect(whole).toBe(true);
    expect(writes.filter(({ level }) => level === 0)).toEqual([...leaves('after'), ...leaves('before')]);
    expect(writes.filter(({ level }) => level > 0)).toHaveLength(6); // three tables, linked and unlinked
  });

  it.each([
    [{ op: 'reboot' }, 'EINVAL'],
    [{ op: 'timeline', bdf: '0000:00:1f.0', fromNs: 0, toNs: 1 }, 'ENODEV'],
    [{ op: 'timeline', bdf: '0000:00:02.0', fromNs: 'x', toNs: 1 }, 'EINVAL'],
    [{ op: 'ram-hash', sliceBytes: -1 }, 'EINVAL'],
    [{ op: 'inject', defect: 'meltdown' }, 'EINVAL'],
    [{ op: 'stop-device' }, 'EINVAL'],
    [{ op: 'stop-device', bdf: '0000:00:1f.0' }, 'ENODEV'],
    [{ op: 'inject', defect: 'drop-interrupt' }, 'ENODEV'],
    [{ op: 'set-parameter', name: 'no_such_parameter', value: '1' }, 'ENOENT'],
    [{}, 'EINVAL'],
  ])('refuses %o with %s', async (request, code) => {
    const client = await host.connect();
    const control = await client.open('/dev/livevmm');

    await expect(client.control(control, request as never)).rejects.toThrow(code);
  });

  it('has no ioctls, and other files have no control requests', async () => {
    const client = await host.connect();
    const control = await client.open('/dev/livevmm');
    const container = await client.open('/dev/vfio/vfio');

    expect(name(await client.ioctl(control, 1, 0))).toBe('-ENOTTY');
    await expect(client.control(container, { op: 'info' })).rejects.toThrow('ENOTTY');
  });
});

describe('unmapping', () => {
  it('gives the pinned pages back, and the device can no longer reach them', async () => {
    const user = await useGroupOf(0);
    const control = await user.client.open('/dev/livevmm');
    await map(user, memory.mapping.vaddr, 0, SIZE);
    await dma(user, 'from-bus', 0, 16);

    const arg = dmaUnmapArg({ iova: 0, size: SIZE });
    expect(await user.client.ioctl(user.container, VFIO_IOMMU_UNMAP_DMA, arg)).toBe(0);

    expect((await user.client.control(control, { op: 'info' })).pinnedPages).toBe(0);
    memory.bytes.fill(0x22, 0, 16);
    await dma(user, 'to-bus', 0, 16);
    expect(memory.bytes[0]).toBe(0x22);
  });
});
