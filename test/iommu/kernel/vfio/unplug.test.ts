/** A device is taken from its driver, and its user is asked to close it (PCI-14). */
import { afterEach, describe, expect, it, vi } from 'vitest';

import { VFIO_GROUP_GET_DEVICE_FD } from '../../../../iommu/abi/vfio.ts';
import { Unbinding } from '../../../../iommu/kernel/vfio/unbinding.ts';
import { EFD_CLOEXEC, EFD_NONBLOCK, eventfd, eventfdRead } from '../../../../platform/libc/eventfd.ts';
import { close } from '../../../../platform/libc/fd.ts';
import { deviceNameArg } from '../../../../vmm/client/group.ts';
import { setIrqs } from '../../../../vmm/client/irqs.ts';
import { useGroup } from '../group-user.ts';
import { name, type TestClient } from '../test-client.ts';
import { hostOfTests } from '../test-host.ts';

const REQ = 4;
const ERR = 3;

describe('PCI-14: the user is asked', () => {
  afterEach(() => vi.useRealTimers());

  it('at once and every 10 s, until he has closed the device', async () => {
    vi.useFakeTimers();
    let asked = 0;
    let open = true;
    const unbinding = new Unbinding(
      () => open,
      () => void asked++,
    );
    const ends = [unbinding.begin(), unbinding.begin()];
    vi.advanceTimersByTime(25_000);
    expect([asked, unbinding.begun, unbinding.gone]).toEqual([3, true, false]);
    open = false;
    unbinding.closed();
    await Promise.all(ends);
    vi.advanceTimersByTime(25_000);
    expect([asked, unbinding.gone]).toEqual([3, true]);
  });

  it('not at all if there is none; closing a device that stays ends nothing', async () => {
    let asked = 0;
    const unbinding = new Unbinding(
      () => false,
      () => void asked++,
    );
    unbinding.closed();
    expect(unbinding.gone).toBe(false);
    await unbinding.begin();
    expect([asked, unbinding.gone]).toEqual([0, true]);
  });
});

describe('PCI-14: a device of a host', () => {
  const edu = { type: 'edu', properties: { pcie: 'on' } };
  const host = hostOfTests({ devices: [edu, edu, { type: 'mscribe', properties: {} }] });

  const groups = async (client: TestClient, control: number): Promise<string[]> =>
    (await client.control(control, { op: 'functions' })).map(({ bdf }) => bdf);

  it('that is open is told by REQ, and is gone when it is closed', async () => {
    const user = await useGroup(await host.connect(), 0, '0000:00:02.0');
    const events = [eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)];
    const args: [number, Uint8Array][] = [];
    const calls = { ioctl: (_: number, nr: number, arg: unknown) => void args.push([nr, arg as Uint8Array]) };
    setIrqs(calls as never, user.device, { index: REQ, eventfds: [events[0]!] });
    setIrqs(calls as never, user.device, { index: ERR, eventfds: [events[1]!] });
    for (const [nr, arg] of args) expect(await user.client.ioctl(user.device, nr, arg)).toBe(0);

    const other = await host.connect();
    const control = await other.open('/dev/livevmm');
    await other.control(control, { op: 'inject', defect: 'uncorrectable-error', bdf: '0000:00:02.0' });
    expect(events.map((fd) => eventfdRead(fd))).toEqual([0, 1]);
    const unplugged = other.control(control, { op: 'unplug', bdf: '0000:00:02.0' });
    await vi.waitFor(() => expect(eventfdRead(events[0]!)).toBe(1));
    const again = await user.client.ioctl(user.group, VFIO_GROUP_GET_DEVICE_FD, deviceNameArg('0000:00:02.0'));
    const alive = await user.client.pread(user.device, 0, 4);
    for (const fd of [user.device, user.group, user.container]) await user.client.close(fd);
    await unplugged;

    expect([name(again), alive]).toEqual(['-ENODEV', Buffer.of(0xed, 0, 0, 1)]);
    expect(name(await user.client.open('/dev/vfio/0'))).toBe('-ENOENT');
    expect(await groups(other, control)).toEqual(['0000:00:03.0', '0000:00:04.0']);
    await expect(other.control(control, { op: 'unplug', bdf: '0000:00:02.0' })).rejects.toThrow('ENODEV');
    for (const fd of events) close(fd);
  });

  it.each(['0000:00:03.0', '0000:00:04.0'])('%s, which nobody has open, is gone at once', async (bdf) => {
    const client = await host.connect();
    const control = await client.open('/dev/livevmm');
    expect(await client.control(control, { op: 'unplug', bdf })).toEqual({});
    expect(await groups(client, control)).not.toContain(bdf);
  });

  it('is not there for nobody', async () => {
    const client = await host.connect();
    const control = await client.open('/dev/livevmm');
    await expect(client.control(control, { op: 'unplug', bdf: '0000:00:1f.0' })).rejects.toThrow('ENODEV');
  });
});
