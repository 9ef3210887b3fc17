import { afterAll, describe, it } from 'vitest';
import { stopActors } from './actors.ts';
import {
  deadAgent,
  mapAgainstDma,
  replacedWorker,
  twoAgents,
  twoFaults,
  twoUnits,
  unmapAgainstDma,
  unmapTwice,
} from './epoch.scenario.ts';
import { findsMutant, holds } from './expectations.ts';
import type { Mutant } from './scenario.ts';

afterAll(stopActors);

const epoch = 'iommu/hardware/epoch.ts';

const mutants = {
  fenceDoesNotWait: {
    name: 'fence-does-not-wait',
    file: epoch,
    find: '    if ((then & BUSY) === 0) continue;\n',
    replace: '    continue;\n',
  },
  oneIdleAgentWillDo: {
    name: 'one-idle-agent-will-do',
    file: epoch,
    find: '    if ((then & BUSY) === 0) continue;\n',
    replace: '    if ((then & BUSY) === 0) return true;\n',
  },
  attentionIgnored: {
    name: 'attention-ignored',
    file: epoch,
    find: 'return (before & ATTENTION) !== 0;',
    replace: 'return false;',
  },
  logReadBeforeAttend: {
    name: 'log-read-before-attend',
    file: 'iommu/hardware/translator.ts',
    find: `    this.#epoch.attend();
    this.#counters[INVALIDATIONS]! += this.#log.catchUp();
`,
    replace: `    this.#counters[INVALIDATIONS]! += this.#log.catchUp();
    this.#epoch.attend();
`,
  },
  fenceBeforeTheCall: {
    name: 'fence-before-the-call',
    file: 'iommu/hardware/command-queue.ts',
    find: `    this.#publish();
    return waitForAgents(this.#words);
`,
    replace: `    const done = waitForAgents(this.#words);
    this.#publish();
    return done;
`,
  },
  generationBeforeTheRequest: {
    name: 'generation-before-the-request',
    file: 'iommu/hardware/invalidation.ts',
    find: '  Atomics.store(words, at + KIND, request.kind);\n',
    replace: `  Atomics.store(words, Unit.word.generation, generation);
  Atomics.store(words, at + KIND, request.kind);
`,
  },
  fenceIsNotWoken: {
    name: 'fence-is-not-woken',
    file: epoch,
    find: 'if (Atomics.load(this.#words, this.#waiters) > 0) Atomics.notify(this.#words, this.#at);',
    replace: '',
  },
  staleBusy: {
    name: 'stale-busy',
    file: epoch,
    find: '    Atomics.and(words, this.#at, ~BUSY);',
    replace: '',
  },
  oneUnitInvalidated: {
    name: 'one-unit-invalidated',
    file: 'iommu/kernel/driver/riscv-domain.ts',
    find: 'for (const commands of this.#units.keys()) this.#invalidate(commands);',
    replace: 'for (const commands of [...this.#units.keys()].slice(0, 1)) this.#invalidate(commands);',
  },
  oneUnitFenced: {
    name: 'one-unit-fenced',
    file: 'iommu/kernel/driver/riscv-domain.ts',
    find: 'for (const commands of this.#units.keys()) commands.fence();',
    replace: 'for (const commands of [...this.#units.keys()].slice(0, 1)) commands.fence();',
  },
  fencedBeforeInvalidated: {
    name: 'unit-fenced-before-the-other-is-invalidated',
    file: 'iommu/kernel/driver/riscv-domain.ts',
    find: `    for (const commands of this.#units.keys()) this.#invalidate(commands);
    for (const commands of this.#units.keys()) commands.fence();
`,
    replace: `    for (const commands of this.#units.keys()) commands.fence();
    for (const commands of this.#units.keys()) this.#invalidate(commands);
`,
  },
  lowHalfFirst: {
    name: 'low-half-first',
    file: 'iommu/hardware/pte.ts',
    find: `  Atomics.store(words, index + 1, hi);
  Atomics.store(words, index, lo); // pairs with the loads in EntryReader.read
`,
    replace: `  Atomics.store(words, index, lo);
  Atomics.store(words, index + 1, hi);
`,
  },
  releaseWithoutNotify: {
    name: 'release-without-notify',
    file: epoch,
    find: 'if ((Atomics.and(words, at, ~BUSY) & BUSY) !== 0) Atomics.notify(words, at);',
    replace: 'Atomics.and(words, at, ~BUSY);',
  },
  lockIsNoExchange: {
    name: 'lock-is-no-exchange',
    file: 'iommu/hardware/lock.ts',
    find: 'if (Atomics.compareExchange(words, index, FREE, HELD) === FREE) return;',
    replace: 'if (Atomics.load(words, index) === FREE && Atomics.store(words, index, HELD) === HELD) return;',
  },
  lockWithoutWakeUp: {
    name: 'lock-without-wake-up',
    file: 'iommu/hardware/lock.ts',
    find: 'if (Atomics.exchange(words, index, FREE) === CONTENDED) Atomics.notify(words, index, 1);',
    replace: 'Atomics.exchange(words, index, FREE);',
  },
} as const satisfies Record<string, Mutant>;

describe('unmap and fence', () => {
  it('keep a device out of memory that was unmapped', () => holds(unmapAgainstDma, { preemptions: 3 }));
  it('keep it out when it lags behind', () => holds(unmapTwice, { preemptions: 3 }));
  it('keep two devices out of it', () => holds(twoAgents, { preemptions: 1 }));
  it('keep two devices out of it in random schedules', () => holds(twoAgents, { seed: 1, executions: 600 }));
  it('keep two devices behind different units out of it (RACE-35)', () => holds(twoUnits, { preemptions: 1 }));
  it('keep those out in random schedules', () => holds(twoUnits, { seed: 1, executions: 600 }));
  it('let a device see an entry whole or not at all', () => holds(mapAgainstDma, { preemptions: 3 }));
  it('wait for no transaction of a device worker that has ended', () => holds(deadAgent, { preemptions: 3 }));
  it('wait for the worker in place of one that was stopped inside a transaction', () => holds(replacedWorker));
  it('record the faults of two devices at once', () => holds(twoFaults));
});

describe('seeded bugs of unmap and fence', () => {
  it.each([
    { mutant: mutants.fenceDoesNotWait, scenario: unmapAgainstDma, kind: 'check' },
    { mutant: mutants.oneIdleAgentWillDo, scenario: twoAgents, kind: 'check' },
    { mutant: mutants.attentionIgnored, scenario: unmapAgainstDma, kind: 'check' },
    { mutant: mutants.logReadBeforeAttend, scenario: unmapTwice, kind: 'check' },
    { mutant: mutants.fenceBeforeTheCall, scenario: unmapAgainstDma, kind: 'check' },
    { mutant: mutants.generationBeforeTheRequest, scenario: unmapTwice, kind: 'check' },
    { mutant: mutants.fenceIsNotWoken, scenario: unmapAgainstDma, kind: 'deadlock' },
    { mutant: mutants.staleBusy, scenario: replacedWorker, kind: 'check' },
    { mutant: mutants.oneUnitInvalidated, scenario: twoUnits, kind: 'check' },
    { mutant: mutants.oneUnitFenced, scenario: twoUnits, kind: 'check' },
    { mutant: mutants.fencedBeforeInvalidated, scenario: twoUnits, kind: 'check' },
    { mutant: mutants.lowHalfFirst, scenario: mapAgainstDma, kind: 'check' },
    { mutant: mutants.releaseWithoutNotify, scenario: deadAgent, kind: 'deadlock' },
    { mutant: mutants.lockIsNoExchange, scenario: twoFaults, kind: 'check' },
    { mutant: mutants.lockWithoutWakeUp, scenario: twoFaults, kind: 'deadlock' },
  ] as const)('$mutant.name is found and replayed', ({ mutant, scenario, kind }) =>
    findsMutant(scenario, mutant, kind, { preemptions: 3 }),
  );
});
