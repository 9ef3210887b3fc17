import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { VFIO_CONTAINER_SET_PERSISTENT_PGTABLES } from '../../../iommu/abi/persistent-tables.ts';
import { VFIO_PCI_MSI_IRQ_INDEX } from '../../../iommu/abi/vfio.ts';
import { codeOf } from '../../../platform/errno.ts';
import { EFD_NONBLOCK, eventfd, eventfdRead } from '../../../platform/libc/eventfd.ts';
import { close } from '../../../platform/libc/fd.ts';
import { Mapping } from '../../../platform/memory.ts';
import { HostProcess } from '../../../tools/launch/host.ts';
import { joinContainer, openEmptyContainer, setIommu } from '../../../vmm/client/container.ts';
import { askHost } from '../../../vmm/client/control.ts';
import { enableDevice, getRegion } from '../../../vmm/client/device.ts';
import { mapDma, READ_WRITE } from '../../../vmm/client/dma.ts';
import { Capture, readFrame } from '../../../vmm/client/drivers/capture.ts';
import { openDevice } from '../../../vmm/client/group.ts';
import { armIrqs } from '../../../vmm/client/irqs.ts';
import { KernelClient } from '../../../vmm/client/kernel-client.ts';
import { kexec, loadKernel, unloadKernel } from '../../../vmm/client/kexec.ts';
import {
  createPersistent,
  findPersistent,
  LIVE_UPDATE,
  listPersistent,
  openPersistent,
  removePersistent,
  setPersistentTables,
} from '../../../vmm/client/pkernfs.ts';
import { RegionRegisters } from '../../../vmm/client/registers.ts';

const SIZE = 4 * 2 ** 20;
const IOVA = 0x1000_0000;
const FRAME = 1024;
const FRAMES = 64;
const TYPE1V2 = 3;

/** A user of a capture device whose memory and page tables outlive the kernel, in one kernel. */
class User {
  readonly client: KernelClient;
  readonly container: number;
  readonly device: number;
  readonly capture: Capture;

  constructor(socket: string, { bdf, group }: { readonly bdf: string; readonly group: number }) {
    this.client = new KernelClient(socket);
    this.container = openEmptyContainer(this.client);
    setPersistentTables(this.client, this.container, openPersistent(this.client, 'iommu/dom-0'));
    const groupFd = joinContainer(this.client, group, this.container);
    setIommu(this.client, this.container, TYPE1V2);
    this.device = openDevice(this.client, groupFd, bdf);
    const { offset } = getRegion(this.client, this.device, 0);
    this.capture = new Capture(new RegionRegisters(this.client, this.device, offset));
  }

  map(ram: Mapping, flags: number): void {
    mapDma(this.client, this.container, { iova: IOVA, size: SIZE, vaddr: ram.vaddr, flags });
  }

  arm(fd: number): void {
    armIrqs(this.client, this.device, VFIO_PCI_MSI_IRQ_INDEX, [fd]);
  }
}

let host: HostProcess;
const said: string[] = [];

const newest = (ram: Mapping): number => {
  const frames = Array.from({ length: FRAMES }, (_, i) =>
    readFrame(new Uint8Array(ram.buffer, i * FRAME, FRAME).slice()),
  );
  return Math.max(...frames.filter(({ isWhole }) => isWhole).map(({ sequence }) => sequence));
};

const ramOf = (client: KernelClient, fresh: boolean): Mapping => {
  const fd = (fresh ? createPersistent : findPersistent)(client, 'ram', SIZE);
  const ram = new Mapping(fd, SIZE);
  close(fd);
  return ram;
};

const START = { iova: IOVA, frames: FRAMES, frameSize: FRAME, rate: 1000, irqEvery: 1 };

/** A user at work: the device DMAs and interrupts. */
function begin(): { readonly user: User; readonly ram: Mapping; readonly event: number } {
  const user = new User(host.socket, host.devices[0]!);
  const ram = ramOf(user.client, true);
  user.map(ram, READ_WRITE);
  const event = eventfd(0, EFD_NONBLOCK);
  user.arm(event);
  enableDevice(user.client, user.device);
  user.capture.start(START);
  return { user, ram, event };
}

/** Reads what an eventfd has counted, until `enough`. */
async function take(event: number, enough: (count: number) => boolean): Promise<number> {
  let count = 0;
  const more = (): boolean => {
    count += eventfdRead(event);
    return enough(count);
  };
  await expect.poll(more, { timeout: 10_000 }).toBe(true);
  return count;
}

/** The errno's name, or what the call gives. */
function outcome(call: () => unknown): unknown {
  try {
    return call() ?? 0;
  } catch (error) {
    return codeOf(error) ?? error;
  }
}

describe('SET_PERSISTENT_PGTABLES (PKF-2, PKF-5)', () => {
  beforeEach(async () => {
    host = await HostProcess.start(['capture'], ['--pkernfs', '64M']);
  });
  afterEach(() => host.stop());

  it('takes one file for page tables, once, before SET_IOMMU, in one container', () => {
    const client = new KernelClient(host.socket);
    const [container, other] = [openEmptyContainer(client), openEmptyContainer(client)];
    const [tables, ram] = [openPersistent(client, 'iommu/dom-0'), openPersistent(client, 'ram')];
    const set = (file: number, into = container): unknown => outcome(() => setPersistentTables(client, into, file));
    const badPointer = outcome(() => client.ioctl(container, VFIO_CONTAINER_SET_PERSISTENT_PGTABLES, 0));
    expect([badPointer, set(9999), set(0), set(ram), set(container)]).toEqual([
      ...['EFAULT', 'EBADF', 'EBADF', 'EBADF', 'EBADF'],
    ]);
    expect([set(tables), set(tables), set(tables, other)]).toEqual([0, 'EEXIST', 'EBUSY']);
    const unlink = (): unknown => outcome(() => removePersistent(client, 'iommu/dom-0'));
    const frozen = unlink();
    client.close(container);
    expect([frozen, set(tables, other)]).toEqual(['EBUSY', 0]);
    joinContainer(client, host.devices[0]!.group, other);
    setIommu(client, other, TYPE1V2);
    expect(set(openPersistent(client, 'iommu/dom-1'), other)).toBe('EINVAL');
    expect(listPersistent(client).map(({ name, kind, frozen }) => [name, kind, frozen])).toEqual([
      ['iommu/root-pgtables', 'root', false],
      ['iommu/dom-0', 'domain', true],
      ['ram', 'data', false],
      ['iommu/dom-1', 'domain', false],
    ]);
  });
});

describe('kexec', () => {
  beforeEach(async () => {
    said.length = 0;
    host = await HostProcess.start(['capture', 'capture'], ['--pkernfs', '64M'], (line) => void said.push(line));
  });
  afterEach(() => host.stop());

  it('keeps DMA going, loses no interrupt and writes no page table (PKF-3, PKF-4, PKF-6)', async () => {
    const { user, ram, event } = begin();
    let delivered = await take(event, (count) => count > 20);
    user.arm(-1); // what the device sends from here on pends
    delivered += eventfdRead(event);
    const before = newest(ram);
    await kexec(user.client);
    await expect.poll(() => newest(ram)).toBeGreaterThan(before + 50); // nobody has asked for the device yet
    const next = new User(host.socket, host.devices[0]!);
    const again = ramOf(next.client, false);
    next.map(again, LIVE_UPDATE);
    const fresh = eventfd(0, EFD_NONBLOCK);
    next.arm(fresh);
    delivered += await take(fresh, (count) => count > 50);
    next.capture.stop();
    delivered += eventfdRead(fresh);
    const { devices, units, kernel, pinnedPages } = askHost(next.client, { op: 'info' });
    expect(kernel.kexecs).toBe(1);
    expect(pinnedPages).toBe(SIZE / 4096);
    expect(devices[0]).toMatchObject({ faults: 0, unsupported: 0, interruptsSent: delivered });
    expect(units[0]!.pteWrites).toBe(0);
    expect(next.capture.faults()).toBe(0);
    expect(newest(again)).toBe(next.capture.writeIndex() - 1);
  });

  it('stops devices without persistence cleanly, and refuses their domains nothing (PKF-6)', async () => {
    const { user } = begin();
    const other = new KernelClient(host.socket);
    const container = openEmptyContainer(other);
    const groupFd = joinContainer(other, host.devices[1]!.group, container);
    setIommu(other, container, TYPE1V2);
    const device = openDevice(other, groupFd, host.devices[1]!.bdf);
    enableDevice(other, device);
    const { offset } = getRegion(other, device, 0);
    new Capture(new RegionRegisters(other, device, offset)).start(START);
    await kexec(user.client);
    const client = new KernelClient(host.socket);
    const transactions = (): number[] => askHost(client, { op: 'info' }).devices.map((one) => one.transactions);
    const [first, second] = transactions();
    await expect.poll(() => transactions()[0]! > first! + 100).toBe(true);
    expect(transactions()[1]).toBe(second); // no bus master
  });

  it('leaves no file descriptor behind in the host', async () => {
    const { user } = begin();
    const fds = (): number => readdirSync(`/proc/${host.child.pid}/fd`).length;
    await kexec(user.client);
    const client = new KernelClient(host.socket);
    askHost(client, { op: 'info' });
    const after = fds();
    for (let i = 0; i < 3; i++) {
      const next = new User(host.socket, host.devices[0]!);
      next.map(ramOf(next.client, false), LIVE_UPDATE);
      next.arm(eventfd(0, EFD_NONBLOCK));
      await kexec(next.client);
    }
    askHost(new KernelClient(host.socket), { op: 'info' });
    expect(fds()).toBeLessThanOrEqual(after);
  });

  it('refuses a kernel that is not there, and the old one goes on', async () => {
    const { user } = begin();
    await expect(kexec(user.client, '/nowhere')).rejects.toMatchObject({ code: 'ENOENT' });
    expect(askHost(user.client, { op: 'info' }).kernel.kexecs).toBe(0);
  });
});

describe('kexec into the kernel of another build', () => {
  let folder: string;

  beforeEach(async () => {
    said.length = 0;
    host = await HostProcess.start(['capture'], ['--pkernfs', '64M'], (line) => void said.push(line));
    folder = mkdtempSync(join(tmpdir(), 'livevmm-kernel-'));
    writeFileSync(join(folder, 'build.json'), '{"board":2,"pkernfs":1}');
  });
  afterEach(async () => {
    await host.stop();
    rmSync(folder, { recursive: true });
  });

  const writeKernel = (source: string): void => writeFileSync(join(folder, 'iommu-kernel-worker.mjs'), source);

  it('that does not load is refused before anything ends', async () => {
    writeKernel('throw new Error("no");');
    const { user, ram } = begin();
    expect(() => loadKernel(user.client, folder)).toThrow(
      expect.objectContaining({ code: 'ENOEXEC', message: 'kexec-load: no' }),
    );
    await expect(kexec(user.client, folder)).rejects.toMatchObject({ code: 'ENOEXEC' });
    const before = newest(ram);
    await expect.poll(() => newest(ram)).toBeGreaterThan(before);
    expect(askHost(user.client, { op: 'info' }).kernel.kexecs).toBe(0);
  });

  it('that runs on another board is refused', () => {
    writeFileSync(join(folder, 'build.json'), '{"board":1,"pkernfs":1}');
    writeKernel('');
    const client = new KernelClient(host.socket);
    expect(outcome(() => loadKernel(client, folder))).toBe('ENOEXEC');
  });

  it('that loads and does not start: this version’s own kernel starts, and devices have gone on', async () => {
    writeKernel(`import { parentPort } from 'node:worker_threads';
parentPort.postMessage({ loaded: true });
parentPort.on('message', () => { throw new Error('no'); });`);
    const { user, ram } = begin();
    const before = newest(ram);
    await kexec(user.client, folder);
    const next = new User(host.socket, host.devices[0]!);
    next.map(ramOf(next.client, false), LIVE_UPDATE);
    await expect.poll(() => newest(ram)).toBeGreaterThan(before);
    const { kernel, units } = askHost(next.client, { op: 'info' });
    expect([kernel.kexecs, units[0]!.pteWrites, next.capture.faults()]).toEqual([1, 0, 0]);
    expect(said.join('\n')).toMatch(/does not start, ours does: no/);
  });

  it('is loaded beside the present one, in place of one before, and can be let go', async () => {
    const threads = (): number => readdirSync(`/proc/${host.child.pid}/task`).length;
    const client = new KernelClient(host.socket);
    askHost(client, { op: 'info' });
    const before = threads();
    loadKernel(client);
    loadKernel(client);
    expect(threads()).toBe(before + 1);
    expect(askHost(client, { op: 'info' }).kernel.kexecs).toBe(0);
    unloadKernel(client);
    unloadKernel(client); // no effect
    await expect.poll(threads).toBe(before);
    loadKernel(client);
    await kexec(client);
    expect(askHost(new KernelClient(host.socket), { op: 'info' }).kernel.kexecs).toBe(1);
    await expect.poll(threads).toBe(before);
  });
});
