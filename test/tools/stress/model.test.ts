import { describe, expect, it } from 'vitest';
import { FrameBuffer } from '../../../devices/capture/frame.ts';
import type { DeviceInfo, HostInfo } from '../../../iommu/abi/control.ts';
import { eventfdSignal } from '../../../platform/libc/eventfd.ts';
import { close } from '../../../platform/libc/fd.ts';
import { Accounting } from '../../../tools/stress/client/accounting.ts';
import { addsUp } from '../../../tools/stress/client/auditor.ts';
import type { DeviceFile } from '../../../tools/stress/client/device-file.ts';
import { InterruptLedger } from '../../../tools/stress/client/interrupt-ledger.ts';
import { type Entry, MappingTable } from '../../../tools/stress/client/mapping-table.ts';
import { checkFrame } from '../../../tools/stress/client/ring-watch.ts';
import { Violation } from '../../../tools/stress/invariants.ts';

/** What mappers believe. */

const entry = (vpn: number, nrPages: number, image = 0): Entry => {
  return { vpn, nrPages, page: 0, read: true, write: true, vaddr: 0, invalid: false, image };
};

describe('MappingTable', () => {
  const [low, high] = [entry(0x10, 4), entry(0x20, 2)];
  const table = new MappingTable();
  table.add(high);
  table.add(low);

  it.each([
    [0x0f, 0x10, []],
    [0x0f, 0x11, [low]],
    [0x13, 0x14, [low]],
    [0x14, 0x20, []],
    [0x00, 0x40, [low, high]],
  ])('[0x%s, 0x%s) overlaps what it has a page of', (vpn, end, found) => {
    expect(table.overlapping(vpn, end)).toEqual(found);
  });

  it.each([
    [0x10, 0x14, false],
    [0x0f, 0x15, false],
    [0x11, 0x15, true],
    [0x00, 0x21, true],
    [0x14, 0x20, false],
  ])('[0x%s, 0x%s) bisects an entry that reaches over its edge', (vpn, end, bisected) => {
    expect(table.isBisected(vpn, end)).toBe(bisected);
  });

  it('counts pages and invalid entries', () => {
    expect([table.nrPages, table.nrInvalid, table.at(0x21)]).toEqual([6, 0, high]);
  });
});

describe('Accounting', () => {
  it('takes what an earlier image was charged for off the new one in 5.12 (RACE-4)', () => {
    const accounting = new Accounting('5.12', 1);
    accounting.updated(entry(0, 5, 0));
    accounting.unmapped(entry(0, 5, 0));
    expect(accounting.lockedPages).toBe(-5);
  });

  it('uncharges nothing for a task that has ended, before 6.3 (ACC-5)', () => {
    const accounting = new Accounting('6.2', 3, 3);
    accounting.updated(entry(0, 5, 1));
    accounting.unmapped(entry(0, 5, 1));
    accounting.mapped(entry(8, 2, 3));
    expect(accounting.lockedPages).toBe(2);
    accounting.unmapped(entry(8, 2, 3));
    expect(accounting.lockedPages).toBe(0);
  });

  it('moves the charge with the vaddr from 6.3 on (ACC-6)', () => {
    const accounting = new Accounting('6.12', 1);
    const moved = entry(0, 5, 0);
    accounting.updated(moved);
    accounting.unmapped(entry(0, 7, 0)); // never updated: charged to a dead image
    expect([accounting.lockedPages, moved.image]).toEqual([5, 1]);
  });
});

describe('InterruptLedger', () => {
  const file = { name: 'edu', routeMsi: () => {}, disableMsi: () => {}, loopBack: () => {} } as unknown as DeviceFile;
  const info = (sent: number, raised: number, dropped: number): DeviceInfo =>
    ({ interruptsSent: sent, interruptsRaised: raised, interruptsDropped: dropped }) as DeviceInfo;

  it.each([
    ['all have come', info(13, 22, 30), 3, undefined],
    ['one was raised and not counted', info(14, 23, 30), 3, /4 interrupts raised, 3 counted/],
    ['one was sent and lost', info(14, 22, 30), 3, /4 interrupts sent/],
    ['one found no route, and there was one', info(14, 22, 31), 3, /1 interrupts found no route/],
  ])('%s', (_, now, signals, complaint) => {
    const ledger = new InterruptLedger(file, info(10, 19, 30));
    ledger.settle(info(10, 19, 30));
    ledger.routeTo('eventfd');
    for (let i = 0; i < signals; i++) eventfdSignal(ledger.eventfd);
    const settle = (): number => ledger.settle(now);
    if (complaint) expect(settle).toThrow(complaint);
    else expect(settle()).toBe(signals);
    close(ledger.eventfd);
  });

  it('lets interrupts go that find no route while there is none', () => {
    const ledger = new InterruptLedger(file, info(0, 0, 0));
    ledger.routeTo('none');
    ledger.routeTo('eventfd');
    expect(ledger.settle(info(2, 0, 2))).toBe(0);
    expect(() => ledger.settle(info(3, 0, 3))).toThrow(Violation);
    ledger.close();
  });

  it('goes on in the next image with what it had counted', () => {
    const before = new InterruptLedger(file, info(0, 0, 0));
    eventfdSignal(before.eventfd);
    before.collect();
    eventfdSignal(before.eventfd);
    before.loopBack();
    eventfdSignal(before.eventfd);
    const after = new InterruptLedger(file, undefined, JSON.parse(JSON.stringify(before.save())));
    expect(after.settle(info(2, 3, 0))).toBe(3);
    after.close();
  });
});

describe('addsUp', () => {
  const device = { name: 'edu', group: 3 };
  const container = { id: 1, groups: [3], mappings: 2, mappedBytes: 5 * 4096, invalidVaddrs: 1 };
  const info = (change: object): HostInfo =>
    ({
      devices: [device],
      containers: [container],
      pinnedPages: 5,
      busyContainers: 0,
      ...change,
    }) as unknown as HostInfo;

  it('takes pins that are what the mappings say, and nothing for mediated devices alone', () => {
    expect(addsUp(info({}), 48)).toBe(true);
    expect(addsUp(info({ devices: [{ name: 'mscribe', group: 3 }], pinnedPages: 0 }), 48)).toBe(true);
  });

  it.each([
    ['a page pinned too much', { pinnedPages: 6 }, /^6 pages pinned, 5 mapped/],
    ['more invalid entries than entries', { containers: [{ ...container, invalidVaddrs: 3 }] }, /3 of them invalid/],
    ['more entries than there may be', { containers: [{ ...container, mappings: 49 }] }, /49 entries/],
  ])('complains of %s, but not in the middle of a call', (_, change, complaint) => {
    expect(() => addsUp(info(change), 48)).toThrow(complaint);
    expect(addsUp(info({ ...change, busyContainers: 1 }), 48)).toBe(false);
  });
});

describe('checkFrame', () => {
  const frame = (index: number): Uint8Array => {
    const buffer = new FrameBuffer(256);
    buffer.fill(index, 1e9);
    return buffer.bytes;
  };

  it('takes the frame that the device makes', () => {
    expect(() => checkFrame('capture', frame(41), 41)).not.toThrow();
  });

  it.each([
    ['another number', frame(42)],
    ['nothing', new Uint8Array(256)],
    ['a changed byte', frame(41).with(200, 0x55)],
  ])('complains of %s', (_, bytes) => {
    expect(() => checkFrame('capture', bytes, 41)).toThrow(Violation);
  });
});
