import { afterAll, describe, it } from 'vitest';
import { stopActors } from './actors.ts';
import { ringSignals } from './eventfd-source.scenario.ts';
import { findsMutant, holds } from './expectations.ts';
import type { Mutant } from './scenario.ts';

afterAll(stopActors);

const file = 'platform/eventfd-source.ts';

const mutants = {
  headGoesBack: {
    name: 'head-goes-back',
    file,
    find: 'if (head !== tail) Atomics.compareExchange(ring, cqHead, head, tail);',
    replace: 'if (head !== tail) Atomics.store(ring, cqHead, tail);',
  },
  completionsAreLeft: {
    name: 'completions-are-left',
    file,
    find: '    if (head !== tail) Atomics.compareExchange(ring, cqHead, head, tail);\n',
    replace: '',
  },
  requestIsOverwritten: {
    name: 'request-is-overwritten',
    file,
    find: 'Atomics.add(ring, words[Sources.word.sqTail]!, 1);',
    replace: 'Atomics.store(ring, words[Sources.word.sqTail]!, Atomics.load(ring, words[Sources.word.sqTail]!) + 1);',
  },
} as const satisfies Record<string, Mutant>;

describe('an eventfd source', () => {
  it('counts each signal of two threads at once', () => holds(ringSignals, { preemptions: 3 }));
});

describe('seeded bugs of eventfd sources', () => {
  it.each([
    { mutant: mutants.headGoesBack, kind: 'check' },
    { mutant: mutants.completionsAreLeft, kind: 'check' },
    { mutant: mutants.requestIsOverwritten, kind: 'threw' },
  ] as const)('$mutant.name is found and replayed', ({ mutant, kind }) => findsMutant(ringSignals, mutant, kind));
});
