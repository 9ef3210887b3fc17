import { afterAll, describe, it } from 'vitest';

import { stopActors } from './actors.ts';
import { findsMutant, holds } from './expectations.ts';
import type { Mutant } from './scenario.ts';
import { diesWhileADeviceInterrupts } from './vitals.scenario.ts';

afterAll(stopActors);

const dispatcher = 'vmm/crew/interrupts/dispatcher.ts';
const imsicFile = 'vmm/machine/hart-local/imsic-file.ts';

const mutants: readonly Mutant[] = [
  {
    name: 'in-hand-after-the-read',
    file: dispatcher,
    find: '    this.#routes.pickUp(route);\n    const hart = takeInterrupts(this.#routes, route, this.#imsics);\n',
    replace: '    const hart = takeInterrupts(this.#routes, route, this.#imsics);\n    this.#routes.pickUp(route);\n',
  },
  {
    name: 'laid-down-before-it-pends',
    file: dispatcher,
    find: '  imsics[targetHart(target)]?.receive(target);\n',
    replace: '  routes.layDown();\n  imsics[targetHart(target)]?.receive(target);\n',
  },
  {
    name: 'claimed-before-its-entry',
    file: imsicFile,
    find: '      this.#journal?.claim(this.#target | identity); // before the bit is cleared\n      Atomics.and(this.#file, FileWords.word.pending + (identity >>> 5), ~(1 << (identity & 31)));\n',
    replace:
      '      Atomics.and(this.#file, FileWords.word.pending + (identity >>> 5), ~(1 << (identity & 31)));\n      this.#journal?.claim(this.#target | identity);\n',
  },
  {
    name: 'given-state-forgotten',
    file: 'vmm/crew/publication.ts',
    find: '    if (number === GIVEN) return { number, bytes: undefined };\n',
    replace: '    if (number === GIVEN) return undefined;\n',
  },
  {
    name: 'begun-with-the-given-state',
    file: 'vmm/crew/publication.ts',
    find: '    Atomics.store(this.#words, Block.word.published, GIVEN);\n',
    replace: '    this.begin();\n    Atomics.store(this.#words, Block.word.published, GIVEN);\n',
  },
  {
    name: 'number-before-the-state',
    file: 'vmm/crew/publication.ts',
    find: '    data.set(state);\n',
    replace: '    Atomics.store(this.#words, Block.word.published, number);\n    data.set(state);\n',
  },
  {
    name: 'state-over-the-one-that-holds',
    file: 'vmm/crew/publication.ts',
    find: '    const { words, data } = this.#slots[number & 1]!;\n    if',
    replace: '    const { words, data } = this.#slots[this.published & 1]!;\n    if',
  },
];

describe('a VMM that dies while a device interrupts', () => {
  it('loses no interrupt, and its successor counts it once', () =>
    holds(diesWhileADeviceInterrupts, { preemptions: 3 }));

  it.each(mutants)('the explorer finds: $name', (mutant) => findsMutant(diesWhileADeviceInterrupts, mutant, 'threw'));
});
