import { describe, expect, it } from 'vitest';

import type { RunFacts, UpdateFacts } from '../../../tools/demo/facts.ts';
import type { LinuxFacts } from '../../../tools/demo/linux/guests.ts';
import { findFailures } from '../../../tools/demo/linux/verdict.ts';

const update: UpdateFacts = {
  ...{ generation: 1, pid: 4711, vaddrOld: '0x1000', vaddrNew: '0x2000', pteWrites: 0 },
  ...{ pauseMs: 90, pauseStartNs: 1e6, pauseEndNs: 91e6, phasesMs: { stop: 1 } },
  ...{ heartbeatsBefore: 100, heartbeatsAfter: 130 },
  tableWrites: { writes: [], whole: true },
  devices: [
    {
      ...{ bdf: '0000:00:02.0', name: 'capture', dmaBefore: 20, dmaDuringPause: 19, dmaAfter: 20 },
      ...{ bytesDuringPause: 1216, maxGapUsBefore: 5000, maxGapUsDuringPause: 5100, faults: 0 },
    },
  ],
};
const guest: LinuxFacts = {
  ...{ heartbeats: 300, framesChecked: 900, framesLost: 0, framesCorrupt: 0, interrupts: 0, spurious: 0 },
  ...{ filesRight: 200, filesWrong: 0, pingsAnswered: 30, pingsLost: 0 },
};
const good: RunFacts<LinuxFacts> = {
  ...{ updatesWanted: 1, pid: 4711, updates: [update], pteWritesDuringUpdates: 0, guest, errors: [] },
  ...{ interrupts: { raised: 0, delivered: 0, lost: 0 }, ramHashMatches: true },
};
const withGuest = (change: Partial<LinuxFacts>): RunFacts<LinuxFacts> => ({ ...good, guest: { ...guest, ...change } });

describe('the verdict of a run with Linux', () => {
  it('is pass when every fact is as it should be', () => {
    expect(findFailures(good)).toEqual([]);
  });

  it.each<[string, RunFacts<LinuxFacts>, RegExp]>([
    ['Linux gave no count', { ...good, guest: null }, /never gave its final count/],
    ['it checked no frame', withGuest({ framesChecked: 0 }), /checked no frame/],
    ['a frame was lost', withGuest({ framesLost: 1 }), /1 frames were lost/],
    ['a frame was corrupt', withGuest({ framesCorrupt: 2 }), /2 frames were corrupt/],
    ['it checked no file', withGuest({ filesRight: 0 }), /checked no file/],
    ['a file was wrong', withGuest({ filesWrong: 3 }), /3 files were wrong/],
    ['no ping was answered', withGuest({ pingsAnswered: 0 }), /no ping was answered/],
    ['a ping was lost', withGuest({ pingsLost: 1 }), /1 pings were lost/],
    ['an update is missing', { ...good, updates: [] }, /0 of 1 updates/],
  ])('is fail when %s', (_, facts, line) => {
    expect(findFailures(facts)).toEqual([expect.stringMatching(line)]);
  });
});
