import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { BARE, type DeviceContext, PASS_THROUGH, SV39, SV39X4, SV48, SV48X4 } from '../../../iommu/hardware/context.ts';
import { PTE_D, PTE_W } from '../../../iommu/hardware/pte.ts';
import { Walker } from '../../../iommu/hardware/walk.ts';
import { LEAF, Machine } from './machine.ts';

interface Leaf {
  readonly page: number;
  readonly target: number;
  readonly level: number;
  readonly writable: boolean;
}

/** What is mapped, page by page of the leaf's size: the model that a walk is compared with. */
class Model {
  readonly #leaves: Leaf[] = [];

  /** Adds a leaf unless it overlaps one that is there; true when added. */
  add(leaf: Leaf): boolean {
    const size = 512 ** leaf.level;
    const overlaps = this.#leaves.some((other) => {
      const otherSize = 512 ** other.level;
      return leaf.page < other.page + otherSize && other.page < leaf.page + size;
    });
    if (!overlaps) this.#leaves.push(leaf);
    return !overlaps;
  }

  /** [pfn, pages, writable] of `page`, or undefined. */
  translate(page: number): readonly [number, number, boolean] | undefined {
    const leaf = this.#leaves.find((l) => page >= l.page && page < l.page + 512 ** l.level);
    return leaf && [leaf.target + (page - leaf.page), 512 ** leaf.level, leaf.writable];
  }
}

/** Pages near each other, so that leaves meet; level 0–2, at most 1 GiB. */
const leafArbitrary = (pages: number): fc.Arbitrary<Leaf> =>
  fc
    .record({
      level: fc.integer({ min: 0, max: 2 }),
      gib: fc.constantFrom(0, 1, pages / 2 ** 18 - 1),
      block: fc.integer({ min: 0, max: 3 }),
      page: fc.integer({ min: 0, max: 511 }),
      target: fc.integer({ min: 0, max: 2 ** 25 }),
      writable: fc.boolean(),
    })
    .map(({ level, gib, block, page, target, writable }) => {
      const size = 512 ** level;
      const inGib = level === 2 ? 0 : level === 1 ? block * 512 : block * 512 + page;
      return { page: gib * 2 ** 18 + inGib, target: target * size, level, writable };
    });

const probes = (leaf: Leaf): number[] => {
  const size = 512 ** leaf.level;
  return [
    leaf.page,
    leaf.page + size - 1,
    leaf.page + size,
    Math.max(0, leaf.page - 1),
    leaf.page + Math.floor(size / 3),
  ];
};

describe.each([
  { name: 'Sv39', scheme: SV39, second: false },
  { name: 'Sv48', scheme: SV48, second: false },
  { name: 'Sv39x4', scheme: SV39X4, second: true },
  { name: 'Sv48x4', scheme: SV48X4, second: true },
])('a walk under $name', ({ scheme, second }) => {
  it('finds for every page what a plain list of leaves says, over all page sizes', () => {
    fc.assert(
      fc.property(fc.array(leafArbitrary(scheme.pages), { minLength: 1, maxLength: 12 }), (leaves) => {
        const machine = new Machine({ agents: 1 });
        const root = machine.page(4);
        const model = new Model();
        for (const leaf of leaves) {
          if (!model.add(leaf)) continue;
          const flags = leaf.writable ? LEAF : LEAF & ~(PTE_W | PTE_D);
          machine.map(root, leaf.page, leaf.target, { levels: scheme.levels, x4: second, level: leaf.level, flags });
        }
        const stage: Partial<DeviceContext> = second
          ? { secondStage: scheme, secondPfn: root }
          : { firstStage: scheme, firstPfn: root };
        const context: DeviceContext = { ...PASS_THROUGH, firstStage: BARE, secondStage: BARE, ...stage };
        const walker = new Walker(machine.physical);

        for (const page of leaves.flatMap(probes).filter((p) => p < scheme.pages)) {
          const expected = model.translate(page);
          const cause = walker.translate(context, page, false);
          expect(cause).toBe(expected ? 0 : second ? 21 : 13);
          if (expected) expect([walker.pfn, walker.pages, walker.writable]).toEqual(expected);
          const writeCause = walker.translate(context, page, true);
          expect(writeCause === 0).toBe(expected?.[2] ?? false);
        }
      }),
      { numRuns: 60 },
    );
  });
});

describe('a nested walk', () => {
  it('composes both stages: the smaller page, the rights of both', () => {
    fc.assert(
      fc.property(
        fc.array(leafArbitrary(2 ** 26), { minLength: 1, maxLength: 5 }),
        fc.array(leafArbitrary(2 ** 26), { minLength: 1, maxLength: 5 }),
        (firstLeaves, secondLeaves) => {
          const machine = new Machine({ agents: 1 });
          const secondRoot = machine.page(4);
          const firstRoot = machine.page();
          const first = new Model();
          const second = new Model();
          // The tables themselves: gpa = pa for the GiB that kernel RAM lies in, and nothing else
          // is mapped there.
          const identity = { page: 0x10000 - (0x10000 % 2 ** 18), target: 0, level: 2, writable: true };
          second.add(identity);
          machine.map(secondRoot, 0, 0, { levels: 3, x4: true, level: 2 });
          for (const leaf of secondLeaves) {
            if (!second.add(leaf)) continue;
            const flags = leaf.writable ? LEAF : LEAF & ~(PTE_W | PTE_D);
            machine.map(secondRoot, leaf.page, leaf.target, { levels: 3, x4: true, level: leaf.level, flags });
          }
          firstLeaves.forEach((drawn, i) => {
            // Send it to where the second stage has something, if sizes allow.
            const goal = secondLeaves[i % secondLeaves.length]!;
            const size = 512 ** drawn.level;
            const leaf = { ...drawn, target: Math.floor(goal.page / size) * size };
            if (first.add(leaf)) machine.map(firstRoot, leaf.page, leaf.target, { levels: 3, level: leaf.level });
          });
          const context: DeviceContext = {
            ...PASS_THROUGH,
            firstStage: SV39,
            firstPfn: firstRoot,
            secondStage: SV39X4,
            secondPfn: secondRoot,
          };
          const walker = new Walker(machine.physical);

          for (const page of firstLeaves.flatMap(probes).filter((p) => p < 2 ** 26)) {
            const gpa = first.translate(page);
            const spa = gpa && second.translate(gpa[0]);
            const cause = walker.translate(context, page, false);
            expect(cause).toBe(!gpa ? 13 : !spa ? 21 : 0);
            if (gpa && spa)
              expect([walker.pfn, walker.pages, walker.writable]).toEqual([spa[0], Math.min(gpa[1], spa[1]), spa[2]]);
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});
