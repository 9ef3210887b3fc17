import { afterAll, describe, it } from 'vitest';
import { stopActors } from './actors.ts';
import { calls, lateAnswers } from './board-reply.scenario.ts';
import { findsMutant, holds } from './expectations.ts';
import type { Mutant } from './scenario.ts';

afterAll(stopActors);

const file = 'iommu/bus/board-reply.ts';

const mutants = {
  answeredBeforeTheAnswer: {
    name: 'answered-before-the-answer',
    file,
    find: "  words[Reply.word.errno] = 'errno' in result ? result.errno : 0;\n",
    replace:
      "  Atomics.store(words, Reply.word.answered, seq);\n  words[Reply.word.errno] = 'errno' in result ? result.errno : 0;\n",
  },
  noWakeUp: {
    name: 'no-wake-up',
    file,
    find: '  Atomics.notify(words, Reply.word.answered);\n',
    replace: '',
  },
  anyAnswerWillDo: {
    name: 'any-answer-will-do',
    file,
    find: 'if (answered === seq) break;',
    replace: 'if (answered !== 0) break;',
  },
} as const satisfies Record<string, Mutant>;

describe("the board's answers", () => {
  it('reach the call they are for', () => holds(calls, { preemptions: 3 }));
  it('are not taken for those of a later call', () => holds(lateAnswers));
});

describe("seeded bugs of the board's answers", () => {
  it.each([
    { mutant: mutants.answeredBeforeTheAnswer, scenario: calls, kind: 'threw' },
    { mutant: mutants.noWakeUp, scenario: calls, kind: 'deadlock' },
    { mutant: mutants.anyAnswerWillDo, scenario: lateAnswers, kind: 'threw' },
  ] as const)('$mutant.name is found and replayed', ({ mutant, scenario, kind }) =>
    findsMutant(scenario, mutant, kind),
  );
});
