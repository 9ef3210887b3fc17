import { describe, expect, it } from 'vitest';

import type { RunFacts, UpdateFacts } from '../../../tools/demo/facts.ts';
import type { PeerFacts } from '../../../tools/demo/p2p/guests.ts';
import { findFailures } from '../../../tools/demo/p2p/verdict.ts';

const update: UpdateFacts = {
  ...{ generation: 1, pid: 4711, vaddrOld: '0x1000', vaddrNew: '0x2000', pteWrites: 0 },
  ...{ pauseMs: 40, pauseStartNs: 1e6, pauseEndNs: 41e6, phasesMs: { stop: 1 } },
  ...{ heartbeatsBefore: 100, heartbeatsAfter: 130 },
  tableWrites: { writes: [], whole: true },
  devices: [
    {
      ...{ bdf: '0000:00:02.0', name: 'capture', dmaBefore: 20, dmaDuringPause: 19, dmaAfter: 20 },
      ...{ bytesDuringPause: 1216, maxGapUsBefore: 5000, maxGapUsDuringPause: 5100, faults: 0 },
    },
  ],
};
const writer = { heartbeats: 300, framesChecked: 0, framesLost: 0, framesCorrupt: 0, interrupts: 60, spurious: 0 };
const guest: PeerFacts = {
  writer,
  reader: { ...writer, framesChecked: 900, interrupts: 0 },
  read: [{ before: 200, after: 320 }],
};
const good: RunFacts<PeerFacts> = {
  ...{ updatesWanted: 1, pid: 4711, updates: [update], pteWritesDuringUpdates: 0, guest, errors: [] },
  ...{ interrupts: { raised: 60, delivered: 60, lost: 0 }, ramHashMatches: true },
};
const withGuests = (change: Partial<PeerFacts>): RunFacts<PeerFacts> => ({ ...good, guest: { ...guest, ...change } });
const withReader = (change: Partial<PeerFacts['reader']>): RunFacts<PeerFacts> =>
  withGuests({ reader: { ...guest.reader, ...change } });

describe('the verdict of a peer-to-peer run', () => {
  it('is pass when every fact is as it should be', () => {
    expect(findFailures(good)).toEqual([]);
  });

  it.each<[string, RunFacts<PeerFacts>, RegExp]>([
    ['the guests gave no count', { ...good, guest: null }, /never gave their counts/],
    ['the writer has no heartbeat', withGuests({ writer: { ...writer, heartbeats: 0 } }), /writing .* no heartbeat/],
    ['the writer got no interrupt', withGuests({ writer: { ...writer, interrupts: 0 } }), /no interrupt/],
    ['the reader has no heartbeat', withReader({ heartbeats: 0 }), /reading .* no heartbeat/],
    ['nobody read a frame', withReader({ framesChecked: 0 }), /checked no frame/],
    ['a frame was lost', withReader({ framesLost: 1 }), /1 frames were lost/],
    ['a frame was corrupt', withReader({ framesCorrupt: 2 }), /2 frames were corrupt/],
    ['nothing was read in an update', withGuests({ read: [{ before: 9, after: 9 }] }), /update 1: .* read no frame/],
    ['an update is missing', { ...good, updates: [] }, /0 of 1 updates/],
    ['a PTE was written', { ...good, pteWritesDuringUpdates: 1 }, /1 page-table words/],
  ])('is fail when %s', (_, facts, line) => {
    expect(findFailures(facts)).toEqual([expect.stringMatching(line)]);
  });
});
