import { afterAll, describe, it } from 'vitest';
import { stopActors } from './actors.ts';
import { relievedAndRun, relievedAtRest } from './crew.scenario.ts';
import { findsMutant, holds } from './expectations.ts';
import type { Mutant } from './scenario.ts';

afterAll(stopActors);

const mutants = {
  crewLoadedFirst: {
    name: 'crew-loaded-first',
    file: 'vmm/machine/control/control-block.ts',
    find: 'const request = Atomics.load(control, word);',
    replace:
      'const relieved = crewOnDuty(control) !== crew;\n  const request = relieved ? EXIT : Atomics.load(control, word);\n  if (!relieved) return request;',
  },
  requestsWithoutNumbers: {
    name: 'requests-without-numbers',
    file: 'vmm/crew/machine-thread.ts',
    find: 'requestWord(this.#requests, what)',
    replace: 'what',
  },
} as const satisfies Record<string, Mutant>;

describe('a crew that is relieved', () => {
  it('leaves, and never does what the next one is told', () => holds(relievedAndRun));

  it('leaves also when nothing else is told', () => holds(relievedAtRest));

  it('the explorer finds: the crew is not looked at after the request', () =>
    findsMutant(relievedAndRun, mutants.crewLoadedFirst, 'threw'));

  it('the explorer finds: a request looks as the one before', () =>
    findsMutant(relievedAtRest, mutants.requestsWithoutNumbers, 'deadlock'));
});
