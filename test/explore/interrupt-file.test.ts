import { afterAll, describe, it } from 'vitest';
import { stopActors } from './actors.ts';
import { findsMutant, holds } from './expectations.ts';
import { moves, told } from './interrupt-file.scenario.ts';
import type { Mutant } from './scenario.ts';

afterAll(stopActors);

const files = 'iommu/hardware/mrif.ts';

const mutants = {
  bitIsNoOr: {
    name: 'bit-is-no-or',
    file: files,
    find: '    Atomics.or(memory.words, file + pendingWord(data >>> 5), 1 << (data & 31));\n',
    replace:
      '    const word = file + pendingWord(data >>> 5);\n    Atomics.store(memory.words, word, Atomics.load(memory.words, word) | (1 << (data & 31)));\n',
  },
  toldBeforeTheBit: {
    name: 'told-before-the-bit',
    file: files,
    find: `    Atomics.or(memory.words, file + pendingWord(data >>> 5), 1 << (data & 31));
    this.#tell(entry); // after the bit: who is told finds it
`,
    replace: `    this.#tell(entry);
    Atomics.or(memory.words, file + pendingWord(data >>> 5), 1 << (data & 31));
`,
  },
  readOnce: {
    name: 'entry-is-read-once',
    file: 'iommu/hardware/pte.ts',
    find: '      if (again === lo) {',
    replace: '      if (again !== 0) {',
  },
  tornStore: {
    name: 'entry-in-two-stores',
    file: 'test/explore/interrupt-file.scenario.ts',
    find: '  Atomics.store(new BigInt64Array(memory.kernelRam), msiEntryOf(memory) / 2, entry);\n',
    replace:
      '  const words = new Int32Array(memory.kernelRam);\n  Atomics.store(words, msiEntryOf(memory) + 1, Number(entry >> 32n));\n  Atomics.store(words, msiEntryOf(memory), Number(BigInt.asIntN(32, entry)));\n',
  },
  noFence: {
    name: 'taken-without-a-fence',
    file: 'test/explore/interrupt-file.scenario.ts',
    find: '      commands.fence(); // now no message is on its way to the file\n',
    replace: '',
  },
} as const satisfies Record<string, Mutant>;

const BOUND = { preemptions: 2 };

describe('an interrupt file that moves into memory and back', () => {
  it('loses no message, and none comes twice', () => holds(moves, BOUND));
  it('has each message when software is told of it', () => holds(told, BOUND));
});

describe('seeded bugs of interrupt files in memory', () => {
  it.each([
    { mutant: mutants.bitIsNoOr, scenario: told },
    { mutant: mutants.toldBeforeTheBit, scenario: told },
    { mutant: mutants.readOnce, scenario: moves, kind: 'threw' },
    { mutant: mutants.tornStore, scenario: moves, kind: 'threw' },
    { mutant: mutants.noFence, scenario: moves },
  ] as const)('$mutant.name is found and replayed', ({ mutant, scenario, ...expected }) =>
    findsMutant(scenario, mutant, 'kind' in expected ? expected.kind : 'check', BOUND),
  );
});
