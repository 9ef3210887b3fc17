import { describe, expect, it } from 'vitest';

import type { DemoFacts, DeviceFacts, UpdateFacts } from '../../../tools/demo/facts.ts';
import { qemuFailures } from '../../../tools/demo/qemu/session.ts';
import type { GuestFacts } from '../../../tools/launch/guest-console.ts';

const device: DeviceFacts = {
  ...{ bdf: '0000:00:02.0', name: 'capture', dmaBefore: 9, dmaDuringPause: 9, dmaAfter: 9, bytesDuringPause: 9 },
  ...{ maxGapUsBefore: 1, maxGapUsDuringPause: 1, faults: 0 },
};
const update: UpdateFacts = {
  ...{ generation: 1, pid: 7, vaddrOld: '', vaddrNew: '', phasesMs: {} },
  ...{ pauseMs: 1, pauseStartNs: 0, pauseEndNs: 1e6, pteWrites: 0, heartbeatsBefore: 1, heartbeatsAfter: 2 },
  tableWrites: { writes: [], whole: true },
  devices: [device],
};
const guest = { framesChecked: 5, framesLost: 0, framesCorrupt: 0 } as GuestFacts;
const facts: DemoFacts = {
  ...{ updatesWanted: 1, pid: 7, updates: [update], pteWritesDuringUpdates: 0, guest, errors: [] },
  ...{ interrupts: null, ramHashMatches: null },
};

describe('the verdict on QEMU', () => {
  it('is a pass when all went on', () => expect(qemuFailures(facts)).toEqual([]));

  it.each<[string, Partial<DemoFacts>]>([
    ['QEMU: no', { errors: ['QEMU: no'] }],
    ['0 of 1 updates completed', { updates: [] }],
    ['3 page-table words were written during updates', { pteWritesDuringUpdates: 3 }],
    ['the guest never gave its final count', { guest: null }],
    ['the guest has seen no frame', { guest: { ...guest, framesChecked: 0 } }],
    ['2 frames were lost', { guest: { ...guest, framesLost: 2 } }],
    ['2 frames were corrupt', { guest: { ...guest, framesCorrupt: 2 } }],
    ["update 1: the guest's heart stopped", { updates: [{ ...update, heartbeatsAfter: 1 }] }],
    [
      'update 1: capture 0000:00:02.0 did no DMA while QEMU was away',
      { updates: [{ ...update, devices: [{ ...device, dmaDuringPause: 0 }] }] },
    ],
    [
      'update 1: 4 accesses of capture 0000:00:02.0 were refused',
      { updates: [{ ...update, devices: [{ ...device, faults: 4 }] }] },
    ],
  ])('says: %s', (line, change) => {
    expect(qemuFailures({ ...facts, ...change })).toEqual([line]);
  });
});
