import { describe, expect, it } from 'vitest';

import type { PteWrite } from '../../../iommu/abi/control.ts';
import { makeDocument } from '../../../tools/demo/document.ts';
import type { DemoFacts, DeviceFacts, UpdateFacts } from '../../../tools/demo/facts.ts';
import { findFailures } from '../../../tools/demo/verdict.ts';
import type { GuestFacts } from '../../../tools/launch/guest-console.ts';

const capture: DeviceFacts = {
  bdf: '0000:00:03.0',
  name: 'capture',
  dmaBefore: 90,
  dmaDuringPause: 88,
  dmaAfter: 91,
  bytesDuringPause: 90_000,
  maxGapUsBefore: 2100,
  maxGapUsDuringPause: 2200,
  faults: 0,
};
const edu: DeviceFacts = { ...capture, bdf: '0000:00:02.0', name: 'edu', dmaDuringPause: 0, bytesDuringPause: 0 };

const mscribe: DeviceFacts = { ...capture, bdf: '0000:00:04.0', name: 'mscribe', longestBlockUs: 110_000 };

const update: UpdateFacts = {
  generation: 1,
  pid: 4711,
  vaddrOld: '0x7f0000000000',
  vaddrNew: '0x7f1000000000',
  pauseMs: 120,
  pauseStartNs: 1_000_000,
  pauseEndNs: 121_000_000,
  phasesMs: { stop: 1, exec: 90 },
  pteWrites: 0,
  tableWrites: { writes: [], whole: true },
  heartbeatsBefore: 100,
  heartbeatsAfter: 130,
  devices: [edu, capture, mscribe],
};

const guest: GuestFacts = {
  heartbeats: 300,
  factorialsOk: 1000,
  factorialsBad: 0,
  dmaRoundTripsOk: 500,
  dmaRoundTripsBad: 0,
  framesChecked: 4000,
  framesLost: 0,
  framesCorrupt: 0,
  framesPending: 0,
  mscribes: 1,
  mscribeOk: 900,
  mscribeBad: 0,
  interrupts: 2000,
  spurious: 0,
  interruptsLost: 0,
};

const good: DemoFacts = {
  updatesWanted: 2,
  pid: 4711,
  updates: [update, { ...update, generation: 2, vaddrOld: '0x7f1000000000', vaddrNew: '0x7f2000000000' }],
  pteWritesDuringUpdates: 0,
  guest,
  interrupts: { raised: 2000, delivered: 2000, lost: 0 },
  ramHashMatches: true,
  errors: [],
};

const withUpdate = (change: Partial<UpdateFacts>): DemoFacts => ({
  ...good,
  updates: [{ ...update, ...change }, good.updates[1]!],
});
const write: PteWrite = {
  ...{ timeNs: 2_000_000, unit: 0, iova: '0x80000000', level: 1, count: 4, pid: 4711, kernel: 1 },
  ...{ before: '0x0', after: '0x200000df' },
};
const withDevice = (change: Partial<DeviceFacts>): DemoFacts =>
  withUpdate({ devices: [edu, { ...capture, ...change }] });
const withMscribe = (change: Partial<DeviceFacts>): DemoFacts =>
  withUpdate({ devices: [edu, capture, { ...mscribe, ...change }] });
/** In all updates. */
const withMscribes = (change: Partial<DeviceFacts>): DemoFacts => {
  const devices = [edu, capture, { ...mscribe, ...change }];
  return { ...good, updates: good.updates.map((one) => ({ ...one, devices })) };
};
const withGuest = (change: Partial<GuestFacts>): DemoFacts => ({ ...good, guest: { ...guest, ...change } });

describe('the verdict', () => {
  it('is pass when every fact is as it should be', () => {
    expect(findFailures(good)).toEqual([]);
    expect(makeDocument(good, findFailures(good), '1.0').verdict).toBe('pass');
    expect(findFailures(withGuest({ mscribes: 0, mscribeOk: 0 }))).toEqual([]);
    expect(findFailures(withMscribe({ longestBlockUs: 0, dmaAfter: 0 }))).toEqual([]);
  });

  it.each<[string, DemoFacts, RegExp]>([
    ['an update is missing', { ...good, updates: [update] }, /1 of 2 updates/],
    ['the generation does not count up', withUpdate({ generation: 2 }), /update 1: generation is 2/],
    ['the pid changed', withUpdate({ pid: 4712 }), /pid changed from 4711 to 4712/],
    ['the vaddr is the same', withUpdate({ vaddrNew: update.vaddrOld }), /same vaddr/],
    ['there was no pause', withUpdate({ pauseEndNs: update.pauseStartNs }), /no pause/],
    ['the heart stopped', withUpdate({ heartbeatsAfter: 100 }), /heart stopped/],
    ['no capture device was observed', withUpdate({ devices: [edu] }), /no capture device/],
    ['a device was silent before the pause', withDevice({ dmaBefore: 0 }), /no DMA before/],
    ['a device was silent during the pause', withDevice({ dmaDuringPause: 0 }), /no DMA during/],
    ['a device moved no byte during the pause', withDevice({ bytesDuringPause: 0 }), /no DMA during/],
    ['a device fell silent after the pause', withDevice({ dmaAfter: 0 }), /no DMA after/],
    ['a DMA was refused', withDevice({ faults: 1 }), /1 DMA faults/],
    ['a DMA of edu was refused', withUpdate({ devices: [{ ...edu, faults: 2 }, capture] }), /edu .* 2 DMA faults/],
    ['no access of a mediated device slept', withMscribes({ longestBlockUs: 0 }), /mscribe .* no access slept/],
    ['a mediated device fell silent', withMscribes({ dmaAfter: 0 }), /mscribe .* no DMA after/],
    ['an access of one was refused', withMscribe({ faults: 1 }), /mscribe .* 1 DMA faults/],
    ['a PTE was written', { ...good, pteWritesDuringUpdates: 1 }, /1 page-table words/],
    ['a PTE write was logged', withUpdate({ tableWrites: { writes: [write], whole: true } }), /log .* has 4 words/],
    ['the log lacks a write', withUpdate({ pteWrites: 1 }), /log .* 0 of 1 words/],
    ['the tables have changed', withUpdate({ tables: { before: 'a', after: 'b' } }), /tables have changed/],
    ['the guest gave no count', { ...good, guest: null }, /final count/],
    ['the guest has no heartbeat', withGuest({ heartbeats: 0 }), /no heartbeat/],
    ['no factorial was computed', withGuest({ factorialsOk: 0 }), /no factorial/],
    ['a factorial was wrong', withGuest({ factorialsBad: 1 }), /factorials were wrong/],
    ['no round trip was made', withGuest({ dmaRoundTripsOk: 0 }), /no DMA round trip/],
    ['a round trip was wrong', withGuest({ dmaRoundTripsBad: 1 }), /came back wrong/],
    ['no frame was checked', withGuest({ framesChecked: 0 }), /no frame/],
    ['a frame was lost', withGuest({ framesLost: 1 }), /1 frames were lost/],
    ['a frame was corrupt', withGuest({ framesCorrupt: 1 }), /1 frames were corrupt/],
    ['no copy job ended', withGuest({ mscribeOk: 0 }), /no copy job/],
    ['a copy job ended wrong', withGuest({ mscribeBad: 1 }), /1 copy jobs ended wrong/],
    ['the guest missed an interrupt', withGuest({ interruptsLost: 1 }), /missed 1 interrupts/],
    ['interrupts were not counted', { ...good, interrupts: null }, /not counted/],
    ['no interrupt was raised', { ...good, interrupts: { raised: 0, delivered: 0, lost: 0 } }, /no interrupt/],
    ['an interrupt was lost', { ...good, interrupts: { raised: 9, delivered: 8, lost: 1 } }, /9 interrupts raised, 8/],
    ['an interrupt came from nowhere', { ...good, interrupts: { raised: 8, delivered: 9, lost: -1 } }, /8 interrupts/],
    ['RAM was not hashed', { ...good, ramHashMatches: null }, /not hashed/],
    ['the RAM hashes differ', { ...good, ramHashMatches: false }, /RAM differs/],
    ['something kept the run from ending', { ...good, errors: ['the VMM exited'] }, /the VMM exited/],
  ])('is fail when %s', (_, facts, line) => {
    expect(findFailures(facts)).toEqual([expect.stringMatching(line)]);
    expect(makeDocument(facts, findFailures(facts), '1.0').verdict).toBe('fail');
  });
});
