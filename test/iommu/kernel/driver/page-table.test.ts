import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PhysicalMemory } from '../../../../iommu/bus/physical.ts';
import { IOMMU_READ, IOMMU_WRITE } from '../../../../iommu/kernel/driver/domain.ts';
import { KernelRam } from '../../../../iommu/kernel/driver/kernel-ram.ts';
import { PageTable, type PageTableShape } from '../../../../iommu/kernel/driver/page-table.ts';

const PAGES_2M = 512;
const PAGES_1G = 512 ** 2;
const RW = IOMMU_READ | IOMMU_WRITE;

function setUp(shape: PageTableShape = { levels: 3, leafLevels: 2 }, nrPages = 1024) {
  const buffer = new SharedArrayBuffer(nrPages * 4096);
  const physical = new PhysicalMemory([{ kind: 'ram', start: 0, size: nrPages * 4096, buffer }]);
  const ram = new KernelRam(physical, { start: 0, size: nrPages * 4096 });
  let writes = 0;
  const table = new PageTable(ram, new Uint16Array(ram.nrPages), shape, ({ count }) => {
    writes += count;
  });
  return { ram, table, writes: () => writes };
}

/** Leaves as a flat map of pages, with the first page and size of the leaf each page is in. */
class Model {
  readonly pages = new Map<number, { pfn: number; leaf: number; span: number }>();
  readonly #maxSpan: number;

  constructor(maxSpan: number) {
    this.#maxSpan = maxSpan;
  }

  canMap(vpn: number, nrPages: number): boolean {
    for (let i = 0; i < nrPages; i++) if (this.pages.has(vpn + i)) return false;
    return true;
  }

  /** IOM-1 */
  map(vpn: number, pfn: number, nrPages: number): void {
    let at = 0;
    while (at < nrPages) {
      const fits = (span: number): boolean =>
        span <= this.#maxSpan && nrPages - at >= span && (vpn + at) % span === 0 && (pfn + at) % span === 0;
      const span = [PAGES_1G, PAGES_2M].find(fits) ?? 1;
      for (let i = 0; i < span; i++) this.pages.set(vpn + at + i, { pfn: pfn + at + i, leaf: vpn + at, span });
      at += span;
    }
  }

  /** IOM-4 */
  unmap(vpn: number, nrPages: number): number {
    let removed = 0;
    for (let page = vpn; page < vpn + nrPages; page++) {
      const hit = this.pages.get(page);
      if (!hit) continue;
      for (let i = 0; i < hit.span; i++) this.pages.delete(hit.leaf + i);
      removed += hit.span;
    }
    return removed;
  }
}

/** Addresses near the edges of tables, where mistakes are. */
const page = fc.tuple(fc.nat(6), fc.constantFrom(0, 1, 7, 510, 511, 512, 513, 1023)).map(([t, o]) => t * 1024 + o);
const size = fc.constantFrom(1, 2, 3, 511, 512, 513, 1024, 1030);
const operation = fc.oneof(
  fc.record({ kind: fc.constant('map' as const), vpn: page, pfn: page, nrPages: size }),
  fc.record({ kind: fc.constant('unmap' as const), vpn: page, pfn: page, nrPages: size }),
);

describe.each<[string, PageTableShape]>([
  ['Sv39x4 with 4K, 2M, 1G', { levels: 3, leafLevels: 2 }],
  ['Sv39x4 with 4K, 2M', { levels: 3, leafLevels: 1 }],
  ['Sv39x4 with 4K', { levels: 3, leafLevels: 0 }],
  ['Sv48x4 with 4K, 2M, 1G', { levels: 4, leafLevels: 2 }],
])('%s', (_name, shape) => {
  it('IOM-4: translates as a flat map of pages does, after any maps and unmaps, and gives every table back', () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 25 }), (operations) => {
        const { ram, table } = setUp(shape);
        const free = ram.nrFree;
        const model = new Model(512 ** shape.leafLevels);
        for (const { kind, vpn, pfn, nrPages } of operations) {
          if (kind === 'unmap') expect(table.unmap(vpn, nrPages)).toBe(model.unmap(vpn, nrPages));
          else if (model.canMap(vpn, nrPages)) {
            expect(table.map(vpn, pfn, nrPages, RW)).toEqual({ done: nrPages });
            model.map(vpn, pfn, nrPages);
          } else {
            const { done, error } = table.map(vpn, pfn, nrPages, RW);
            expect(error?.code).toBe('EADDRINUSE');
            table.unmap(vpn, done);
          }
          table.reclaim();
        }
        for (const [vpn, { pfn }] of model.pages) expect(table.pfnOf(vpn)).toBe(pfn);
        for (let vpn = 0; vpn < 9 * 1024; vpn += 37) expect(table.pfnOf(vpn)).toBe(model.pages.get(vpn)?.pfn);
        for (const vpn of [...model.pages.keys()]) table.unmap(vpn, 1);
        table.reclaim();
        expect(ram.nrFree).toBe(free);
      }),
      { numRuns: 25 },
    );
  });
});

describe('map', () => {
  // Sizes and alignments at which page-table code was wrong before. Entries written = leaves +
  // tables on the way.
  it.each([
    ['2M, 1G, 2M', PAGES_1G - PAGES_2M, PAGES_1G - PAGES_2M, PAGES_1G + 2 * PAGES_2M, 3 + 2],
    ['4K only, as iova and pa differ below 2M', 0, 1, PAGES_2M, PAGES_2M + 2],
    ['4K: iova fef80000, pa 208b95d000, 20000', 0xfef80, 0x208b95d, 0x20, 0x20 + 2],
    ['1G', 3 * PAGES_1G, 5 * PAGES_1G, PAGES_1G, 1],
    ['4K up to a boundary, then 2M', 5, PAGES_2M + 5, 2 * PAGES_2M - 5, PAGES_2M - 5 + 1 + 2],
  ])('IOM-1, RACE-33: takes the largest leaves that fit: %s', (_name, vpn, pfn, nrPages, written) => {
    const { table, writes } = setUp();
    expect(table.map(vpn, pfn, nrPages, RW)).toEqual({ done: nrPages });
    expect(writes()).toBe(written);
    expect(table.pfnOf(vpn + nrPages - 1)).toBe(pfn + nrPages - 1);
    expect(table.unmap(vpn, nrPages)).toBe(nrPages);
    expect(writes()).toBe(2 * written);
  });

  // Four pages for tables: one for each GiB, one for each 2 MiB.
  it.each([
    ['the last table of 2 MiB is missing', 0, 3],
    ['the table of the next GiB is made, but none below it', PAGES_1G - 2 * PAGES_2M, 2],
  ])('reports how far it came when kernel RAM ends, and leaves no empty table behind: %s', (_name, vpn, nrTables) => {
    const { ram, table } = setUp({ levels: 3, leafLevels: 0 }, 8);
    const free = ram.nrFree;
    const { done, error } = table.map(vpn, vpn, 10 * PAGES_2M, RW);
    expect(error?.code).toBe('ENOMEM');
    expect(done).toBe(nrTables * PAGES_2M);
    expect(ram.nrFree).toBe(0);
    table.unmap(vpn, done);
    table.reclaim();
    expect(ram.nrFree).toBe(free);
  });

  it('does not map over a larger leaf, nor a larger leaf over pages', () => {
    const { table } = setUp();
    table.map(0, 0, PAGES_2M, RW);
    expect(table.map(5, 5, 1, RW).error?.code).toBe('EADDRINUSE');
    table.map(PAGES_2M + 5, 5, 1, RW);
    expect(table.map(PAGES_2M, 0, PAGES_2M, RW)).toMatchObject({ done: 0, error: { code: 'EADDRINUSE' } });
    expect(table.pfnOf(PAGES_2M + 5)).toBe(5);
  });

  it('keeps an unlinked table out of use until it is reclaimed', () => {
    const { ram, table } = setUp();
    table.map(0, 0, 1, RW);
    const free = ram.nrFree;
    table.unmap(0, 1);
    expect(table.hasUnlinked).toBe(true);
    expect(ram.nrFree).toBe(free);
    table.reclaim();
    expect(ram.nrFree).toBe(free + 2);
  });

  it('addresses pages above 2^32 bytes and 16 GiB exactly', () => {
    const { table } = setUp({ levels: 4, leafLevels: 2 });
    const vpn = 2 ** 35 + 123;
    const pfn = 2 ** 39 + 45678;
    table.map(vpn, pfn, 3, RW);
    expect([table.pfnOf(vpn), table.pfnOf(vpn + 2), table.pfnOf(vpn + 3)]).toEqual([pfn, pfn + 2, undefined]);
  });

  it('counts every entry it writes, and touchFirstLeaf is one', () => {
    const { table, writes } = setUp();
    expect(table.touchFirstLeaf()).toBe(false);
    table.map(1, 1, 1, RW);
    expect(writes()).toBe(3);
    expect(table.touchFirstLeaf()).toBe(true);
    expect(writes()).toBe(4);
    expect(table.pfnOf(1)).toBe(1);
  });
});
