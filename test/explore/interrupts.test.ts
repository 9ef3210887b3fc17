import { afterAll, describe, it } from 'vitest';
import { stopActors } from './actors.ts';
import { findsMutant, holds } from './expectations.ts';
import { intxHandOver, intxLevel, intxOnce, msiHandOver, msiOverKexec } from './interrupts.scenario.ts';
import type { Mutant } from './scenario.ts';

afterAll(stopActors);

const file = 'iommu/bus/interrupts.ts';

const mutants = {
  closedBeforeTheFence: {
    name: 'closed-before-the-fence',
    file: 'iommu/kernel/vfio/pci/msi.ts',
    find: '    if (old || held) {\n      this.#fabric.fence();\n',
    replace: '    if (old || held) {\n      old?.close();\n      this.#fabric.fence();\n',
  },
  fenceBeforeTheRoute: {
    name: 'fence-before-the-route',
    file: 'iommu/kernel/vfio/pci/msi.ts',
    find: `    doorbells.setSource(number, trigger?.source ?? (held ? HELD : -1));
    doorbells.setPage(number, trigger && this.#page, i);
    if (old || held) {
      this.#fabric.fence();
`,
    replace: `    if (old || held) this.#fabric.fence();
    doorbells.setSource(number, trigger?.source ?? (held ? HELD : -1));
    doorbells.setPage(number, trigger && this.#page, i);
    if (old || held) {
`,
  },
  deliveredBeforeTheFence: {
    name: 'delivered-before-the-fence',
    file: 'iommu/kernel/vfio/pci/msi.ts',
    find: '      this.#fabric.fence();\n      doorbells.deliverPending(number);\n',
    replace: '      doorbells.deliverPending(number);\n      this.#fabric.fence();\n',
  },
  nothingHeldAtTheEnd: {
    name: 'nothing-held-at-the-end',
    file: 'iommu/kernel/vfio/pci/msi.ts',
    find: '      doorbells.setPage(number, undefined, 0);\n      doorbells.setSource(number, HELD);\n',
    replace: '      doorbells.setPage(number, undefined, 0);\n      doorbells.setSource(number, 7);\n',
  },
  heldAndClosedAtOnce: {
    name: 'held-and-closed-at-once',
    file: 'iommu/kernel/vfio/pci/msi.ts',
    find: '    this.#fabric.fence();\n    for (const [i, vector] of this.#vectors.entries()) {\n      if (!vector?.trigger) continue;\n',
    replace:
      '    for (const vector of this.#vectors) vector?.trigger?.close();\n    this.#fabric.fence();\n    for (const [i, vector] of this.#vectors.entries()) {\n      if (!vector?.trigger) continue;\n',
  },
  pendingReadAndCleared: {
    name: 'pending-read-and-cleared',
    file,
    find: 'Atomics.exchange(this.#words, Doorbell.word.pending + vector, 0)',
    replace: 'Atomics.load(this.#words, Doorbell.word.pending + vector)',
  },
  signallingNotSaid: {
    name: 'signalling-not-said',
    file,
    find: 'Atomics.store(words, Line.word.signalling, 1);',
    replace: 'Atomics.store(words, Line.word.signalling, 0);',
  },
  noWakeUpWhenSignalled: {
    name: 'no-wake-up-when-signalled',
    file,
    find: '    Atomics.notify(words, Line.word.signalling);\n',
    replace: '',
  },
  unmaskWithoutALook: {
    name: 'unmask-without-a-look',
    file,
    find: 'Atomics.store(this.#words, Line.word.masked, 0); // pairs with the exchange in #deliver\n    this.#deliver();',
    replace: 'Atomics.store(this.#words, Line.word.masked, 0);',
  },
  maskIsNoExchange: {
    name: 'mask-is-no-exchange',
    file,
    find: 'if (Atomics.compareExchange(words, Line.word.masked, 0, 1) !== 0) return;',
    replace: 'if (Atomics.load(words, Line.word.masked) !== 0) return;\n    Atomics.store(words, Line.word.masked, 1);',
  },
} as const satisfies Record<string, Mutant>;

describe('interrupts', () => {
  it('never write an eventfd of an MSI that was closed, and lose no MSI (RACE-18)', () => holds(msiHandOver));
  it('outlive a kernel: each reaches an eventfd of the one or of the next (PKF-6)', () => holds(msiOverKexec));
  it('never write an eventfd of INTx that was closed (RACE-18)', () => holds(intxHandOver, { preemptions: 3 }));
  it('tell of a level that is up and unmasked, once per mask', () => holds(intxLevel, { preemptions: 3 }));
  it('are signalled once when two threads find the level', () => holds(intxOnce, { preemptions: 4 }));
});

describe('seeded bugs of interrupts', () => {
  it.each([
    { mutant: mutants.closedBeforeTheFence, scenario: msiHandOver, kind: 'threw' },
    { mutant: mutants.deliveredBeforeTheFence, scenario: msiOverKexec, kind: 'check' },
    { mutant: mutants.nothingHeldAtTheEnd, scenario: msiOverKexec, kind: 'threw' },
    { mutant: mutants.heldAndClosedAtOnce, scenario: msiOverKexec, kind: 'threw' },
    { mutant: mutants.pendingReadAndCleared, scenario: msiOverKexec, kind: 'check' },
    { mutant: mutants.fenceBeforeTheRoute, scenario: msiHandOver, kind: 'threw' },
    { mutant: mutants.signallingNotSaid, scenario: intxHandOver, kind: 'threw' },
    { mutant: mutants.noWakeUpWhenSignalled, scenario: intxHandOver, kind: 'deadlock' },
    { mutant: mutants.unmaskWithoutALook, scenario: intxLevel, kind: 'check' },
    { mutant: mutants.maskIsNoExchange, scenario: intxOnce, kind: 'check' },
  ] as const)('$mutant.name is found and replayed', ({ mutant, scenario, kind }) =>
    findsMutant(scenario, mutant, kind),
  );
});
