import { afterAll, describe, it } from 'vitest';
import { stopActors } from './actors.ts';
import { lastVector, sharedPage } from './donated-window.scenario.ts';
import { findsMutant, holds } from './expectations.ts';
import type { Mutant } from './scenario.ts';

afterAll(stopActors);

const file = 'iommu/kernel/driver/donated-window.ts';

const mutants = {
  pageStays: {
    name: 'page-stays',
    file,
    find: '    this.#mappings.unmap(doorbell.vpn);\n',
    replace: '',
  },
  noFlush: {
    name: 'no-flush',
    file: 'iommu/kernel/driver/riscv-domain.ts',
    find: '        this.unmap(vpn, 1);\n        this.flush();\n',
    replace: '        this.unmap(vpn, 1);\n',
  },
  firstVectorTakesThePage: {
    name: 'first-vector-takes-the-page',
    file,
    find: 'if (!doorbell || --doorbell.vectors > 0) return;',
    replace: 'if (!doorbell) return;',
  },
} as const satisfies Record<string, Mutant>;

describe('a donated window', () => {
  it('has no page for MSIs any more when the last vector is gone (RSV-8)', () => holds(lastVector));
  it('keeps the page for the vectors that are left (RSV-8)', () => holds(sharedPage));
});

describe('seeded bugs of a donated window', () => {
  it.each([
    { mutant: mutants.pageStays, scenario: lastVector, kind: 'check' },
    { mutant: mutants.noFlush, scenario: lastVector, kind: 'check' },
    { mutant: mutants.firstVectorTakesThePage, scenario: sharedPage, kind: 'check' },
  ] as const)('$mutant.name is found and replayed', ({ mutant, scenario, kind }) =>
    findsMutant(scenario, mutant, kind),
  );
});
