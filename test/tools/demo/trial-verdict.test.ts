import { describe, expect, it } from 'vitest';

import type { TrialFacts } from '../../../tools/demo/bad-successors/trial.ts';
import { findFailures, trialFailures } from '../../../tools/demo/bad-successors/verdict.ts';

const OLD = { pid: 7, image: '/old/vmm.cjs', generation: 3 };
const HEALTHY = { heartbeats: 10, framesLost: 2, wrong: 1, interruptsLost: 4 };

/** A rollback in which all is well. */
const GOOD: TrialFacts = {
  name: 'crashes',
  expected: ['rolled back'],
  outcome: 'rolled back',
  said: 'it died',
  saidRight: true,
  before: OLD,
  after: { ...OLD, pid: 8 },
  stoodMs: 100,
  pauseMs: null,
  rollbackMs: 20,
  tookMs: 900,
  guestBefore: HEALTHY,
  guestAfter: { ...HEALTHY, heartbeats: 11 },
};

describe('a trial', () => {
  it('is right if nothing was lost in it, whatever was lost before', () => {
    expect(trialFailures(GOOD)).toEqual([]);
  });

  it.each<[string, Partial<TrialFacts>, RegExp]>([
    ['ends otherwise', { outcome: 'completed', after: { ...OLD, generation: 4 } }, /completed instead of rolled back/],
    [
      'has no guest any more',
      { outcome: 'lost', after: null, guestAfter: null },
      /lost instead of rolled back: it died/,
    ],
    ['tells another reason', { saidRight: false }, /the user was told: it died/],
    ['counts an update', { after: { ...OLD, generation: 4 } }, /generation 3 became 4/],
    ['runs the guest in the new image', { after: { ...OLD, image: '/new/vmm.cjs' } }, /runs in \/new\/vmm\.cjs/],
    ['has another process though refused', { outcome: 'refused' }, /pid 7 became 8/],
    ['stops the heart', { guestAfter: HEALTHY }, /heart stopped/],
    ['loses frames', { guestAfter: { ...HEALTHY, heartbeats: 11, framesLost: 5 } }, /3 frames were lost/],
    ['corrupts something', { guestAfter: { ...HEALTHY, heartbeats: 11, wrong: 2 } }, /1 frames, copies or results/],
    ['loses interrupts', { guestAfter: { ...HEALTHY, heartbeats: 11, interruptsLost: 6 } }, /missed 2 interrupts/],
  ])('fails if it %s', (_, change, failure) => {
    const failures = trialFailures({ ...GOOD, ...change });
    expect(failures).toContainEqual(expect.stringMatching(failure));
  });
});

describe('the matrix', () => {
  const interrupts = { raised: 5, delivered: 5, lost: 0 };
  const count = { trials: [1], interrupts, ramHashMatches: true };

  it('passes if every trial and every last count is right', () => {
    expect(findFailures({ trials: [GOOD], counts: [count], errors: [] })).toEqual([]);
  });

  it.each([
    ['no trial', { trials: [], counts: [], errors: [] }, 'nothing was tried'],
    ['an error', { trials: [GOOD], counts: [], errors: ['no host'] }, 'no host'],
    [
      'lost interrupts',
      { trials: [GOOD], counts: [{ ...count, interrupts: { raised: 5, delivered: 4, lost: 1 } }], errors: [] },
      'trials 1: 5 interrupts raised, 4 delivered',
    ],
    [
      'no count',
      { trials: [GOOD], counts: [{ ...count, interrupts: null }], errors: [] },
      'trials 1: interrupts were not counted',
    ],
    [
      'other RAM',
      { trials: [GOOD], counts: [{ ...count, ramHashMatches: false }], errors: [] },
      "trials 1: guest RAM differs between the VMM's mapping and the board's, or was not hashed",
    ],
  ])('fails with %s', (_, facts, failure) => {
    expect(findFailures(facts)).toEqual([failure]);
  });
});
