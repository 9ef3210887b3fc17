import { afterAll, describe, it } from 'vitest';

import { stopActors } from './actors.ts';
import { findsMutant, holds } from './expectations.ts';
import type { Mutant } from './scenario.ts';
import { parks, stops } from './stop.scenario.ts';

afterAll(stopActors);

const dispatcher = 'vmm/crew/interrupts/dispatcher.ts';
const stopped = 'vmm/crew/vcpu/stopped-state.ts';

const mutants = {
  parkedUnheard: {
    name: 'parked-unheard',
    file: dispatcher,
    find: '    Atomics.notify(this.#control, parked);\n',
    replace: '',
  },
  parkedBeforeItPends: {
    name: 'parked-before-it-pends',
    file: dispatcher,
    find: '    this.#request = request;\n',
    replace:
      '    this.#request = request;\n    Atomics.store(this.#control, MachineBlock.word.parked, numberOf(request) + 1);\n',
  },
  stoppedUnheard: {
    name: 'stopped-unheard',
    file: stopped,
    find: '    Atomics.notify(this.#words, Block.word.stopped);\n',
    replace: '',
  },
  anyStopWillDo: {
    name: 'any-stop-will-do',
    file: 'vmm/crew/sleep-until.ts',
    find: 'if (seen === value) return true;',
    replace: 'if (seen !== 0) return true;',
  },
  numberBeforeTheState: {
    name: 'number-before-the-state',
    file: stopped,
    find: '    this.#words[Block.word.count] = count;\n',
    replace:
      '    Atomics.store(this.#words, Block.word.stopped, number);\n    this.#words[Block.word.count] = count;\n',
  },
} as const satisfies Record<string, Mutant>;

describe('main, which sleeps until the interrupt thread has parked', () => {
  it('finds each interrupt in one place', () => holds(parks));

  it('the explorer finds: nobody wakes it', () => findsMutant(parks, mutants.parkedUnheard, 'deadlock'));

  it('the explorer finds: the thread says so before it has parked', () =>
    findsMutant(parks, mutants.parkedBeforeItPends, 'threw'));
});

describe('main, which sleeps until the vCPU has stopped', () => {
  it('gets the state of that stop', () => holds(stops));

  it('the explorer finds: nobody wakes it', () => findsMutant(stops, mutants.stoppedUnheard, 'deadlock'));

  it('the explorer finds: it takes the state of an earlier stop', () =>
    findsMutant(stops, mutants.anyStopWillDo, 'threw'));

  it('the explorer finds: the number comes before the state', () =>
    findsMutant(stops, mutants.numberBeforeTheState, 'threw'));
});
