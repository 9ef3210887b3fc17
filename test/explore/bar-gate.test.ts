import { afterAll, describe, it } from 'vitest';
import { stopActors } from './actors.ts';
import { barTakenBack, barWithdrawn } from './bar-gate.scenario.ts';
import { findsMutant, holds } from './expectations.ts';
import type { Mutant } from './scenario.ts';

afterAll(stopActors);

const ramBars = 'iommu/kernel/vfio/pci/ram-bars.ts';
const peerReturn = 'iommu/kernel/vfio/pci/peer-return.ts';
const bar = 'iommu/bus/targets/bar.ts';

const mutants = {
  fenceBeforeTheGate: {
    name: 'fence-before-the-gate',
    file: ramBars,
    find: '    this.#gate.setWithdrawn(true);\n    this.#fence();\n',
    replace: '    this.#fence();\n    this.#gate.setWithdrawn(true);\n',
  },
  noFenceBeforeTheCut: {
    name: 'no-fence-before-the-cut',
    file: ramBars,
    find: '    this.#gate.setWithdrawn(true);\n    this.#fence();\n',
    replace: '    this.#gate.setWithdrawn(true);\n',
  },
  gateNotLookedAt: {
    name: 'gate-not-looked-at',
    file: bar,
    find: '    if (!this.#gate.open()) return false;\n    writeFileMemory',
    replace: '    writeFileMemory',
  },
  noFenceAfterTheReturn: {
    name: 'no-fence-after-the-return',
    file: peerReturn,
    find: '    if (this.#pending > 0) this.#fence();\n',
    replace: '',
  },
  gateStaysOpenForTheBusy: {
    name: 'gate-stays-open-for-the-busy',
    file: peerReturn,
    find: '        if (this.#pending++ === 0) this.#gate.setReturning(true);\n',
    replace: '        this.#pending++;\n',
  },
} as const satisfies Record<string, Mutant>;

describe('a BAR that other devices write to', () => {
  it('loses no write when its bytes are put away, and gets none afterwards (P2P-7)', () => holds(barWithdrawn));
  it('is reached by no device when it was taken back, though a container is busy (P2P-4, P2P-10)', () =>
    holds(barTakenBack));
});

describe('seeded bugs of the gate', () => {
  it.each([
    { mutant: mutants.fenceBeforeTheGate, scenario: barWithdrawn, kind: 'threw' },
    { mutant: mutants.noFenceBeforeTheCut, scenario: barWithdrawn, kind: 'threw' },
    { mutant: mutants.gateNotLookedAt, scenario: barWithdrawn, kind: 'threw' },
    { mutant: mutants.noFenceAfterTheReturn, scenario: barTakenBack, kind: 'threw' },
    { mutant: mutants.gateStaysOpenForTheBusy, scenario: barTakenBack, kind: 'threw' },
  ] as const)('$mutant.name is found and replayed', ({ mutant, scenario, kind }) =>
    findsMutant(scenario, mutant, kind),
  );
});
