import { afterAll, describe, it } from 'vitest';
import { stopActors } from './actors.ts';
import { findsMutant, holds } from './expectations.ts';
import type { Mutant } from './scenario.ts';
import { growing, lapped } from './timeline.scenario.ts';

afterAll(stopActors);

const file = 'iommu/bus/timeline.ts';

const mutants = {
  noSecondLook: {
    name: 'no-second-look',
    file,
    find: 'if (Atomics.load(this.#words, base + Bucket.word.seq) !== before) continue;',
    replace: 'Atomics.load(this.#words, base + Bucket.word.seq);',
  },
  oddIsNotMinded: {
    name: 'odd-is-not-minded',
    file,
    find: 'if ((before & 1) !== 0) continue;',
    replace: '',
  },
  seqAfterTheFields: {
    name: 'seq-after-the-fields',
    file,
    find: '    Atomics.add(this.#words, seq, 1);\n    if (',
    replace: '    if (',
  },
} as const satisfies Record<string, Mutant>;

describe('the timeline', () => {
  it('shows a growing bucket whole', () => holds(growing, { preemptions: 3 }));
  it('shows no bucket of a later lap', () => holds(lapped, { preemptions: 3 }));
});

describe('seeded bugs of the timeline', () => {
  it.each([
    { mutant: mutants.noSecondLook, scenario: growing, kind: 'threw' },
    { mutant: mutants.noSecondLook, scenario: lapped, kind: 'threw' },
    { mutant: mutants.oddIsNotMinded, scenario: growing, kind: 'threw' },
    { mutant: mutants.seqAfterTheFields, scenario: growing, kind: 'threw' },
  ] as const)('$mutant.name is found in $scenario.name and replayed', ({ mutant, scenario, kind }) =>
    findsMutant(scenario, mutant, kind),
  );
});
