import { describe, expect, it } from 'vitest';

import { addUp, type Failure, NOTHING_DONE } from '../../../tools/stress/outcome.ts';
import { formatDocument, makeDocument } from '../../../tools/stress/report.ts';

const plan = { seed: 17, seconds: 60, profile: '6.12', workers: 2 } as const;
const failure: Failure = {
  invariant: '1',
  actor: 'second',
  message: 'page 3 was written',
  atNs: 5_000_000_000,
  notes: ['host: a last word'],
  events: [
    { atNs: 4_990_000_000, actor: 'mapper', text: 'MAP 0x1000+0x1000 = 0' },
    { atNs: 4_999_500_000, actor: 'second', text: 'UNMAP 0x1000+0x1000 = 1' },
  ],
};
const outcomes = [
  { seed: 17, totals: { ...NOTHING_DONE, operations: 5, slowestUs: 700 } },
  { seed: 18, totals: { ...NOTHING_DONE, operations: 6, slowestUs: 900 }, failure },
];

describe('the report of a stress run', () => {
  it('adds the shards up, but for the slowest answer', () => {
    const { operations, slowestUs } = addUp(outcomes.map(({ totals }) => totals));
    expect([operations, slowestUs]).toEqual([11, 900]);
  });

  it('names for the broken shard the command that plays it alone', () => {
    const { verdict, failures } = makeDocument(plan, outcomes, '1.0');
    expect(verdict).toBe('broken');
    expect(failures).toMatchObject([
      { seed: 18, replay: 'livevmm stress --seed 18 --workers 1 --seconds 60 --profile 6.12' },
    ]);
  });

  it('shows the invariant, the last words and the events before it', () => {
    const text = formatDocument(makeDocument(plan, outcomes, '1.0'));
    expect(text.split('\n').slice(0, 7)).toEqual([
      'BROKEN, invariant 1: after UNMAP_DMA has returned, no device changes a byte behind that range',
      '  second: page 3 was written',
      '  host: a last word',
      'last events with seed 18, in ms before it was seen:',
      '     -10.000  mapper   MAP 0x1000+0x1000 = 0',
      '      -0.500  second   UNMAP 0x1000+0x1000 = 1',
      'again: livevmm stress --seed 18 --workers 1 --seconds 60 --profile 6.12',
    ]);
  });

  it('is clean when no shard failed', () => {
    const document = makeDocument(plan, outcomes.slice(0, 1), '1.0');
    expect(document.verdict).toBe('clean');
    expect(formatDocument(document)).toMatch(/\nclean: seed 17, 2 shards\n$/);
  });
});
