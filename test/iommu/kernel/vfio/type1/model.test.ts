/**
 * Random MAP, UNMAP and VADDR against a plain model: entries in a list, rules as
 * docs/rules/vfio.md, "MAP_DMA" and "UNMAP_DMA", state them.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { errnoOf, READ, RW, TestContainer, UNMAP_VADDR, VADDR } from './container.ts';

const PAGE = 4096;
const NR_PAGES = 64;

interface Entry {
  readonly first: number;
  readonly end: number;
  /** Page of the memory object behind its first page. */
  readonly memory: number;
  readonly writable: boolean;
  invalid: boolean;
}

class Model {
  entries: Entry[] = [];
  readonly #v2: boolean;
  readonly #limit: number;

  constructor(v2: boolean, limit: number) {
    this.#v2 = v2;
    this.#limit = limit;
  }

  #hits(first: number, end: number): Entry[] {
    return this.entries.filter((entry) => entry.first < end && first < entry.end);
  }

  map(first: number, nrPages: number, memory: number, flags: number): string {
    const end = first + nrPages;
    const [hit] = this.#hits(first, end);
    if (flags === VADDR) {
      if (!hit) return 'ENOENT';
      if (!hit.invalid || hit.first !== first || hit.end !== end) return 'EINVAL';
      hit.invalid = false;
      return 'ok';
    }
    if (hit) return 'EEXIST';
    if (this.entries.length === this.#limit) return 'ENOSPC';
    const entry = { first, end, memory, writable: flags === RW, invalid: false };
    this.entries = [...this.entries, entry].sort((a, b) => a.first - b.first);
    return 'ok';
  }

  unmap(first: number, nrPages: number, flags: number): string {
    const end = first + nrPages;
    let hits = this.#hits(first, end);
    const isBisected = hits.some((entry) => entry.first < first || entry.end > end);
    if (this.#v2 && isBisected) return 'EINVAL';
    if (hits[0] && hits[0].first < first) hits = []; // v1
    const size = hits.reduce((sum, entry) => sum + entry.end - entry.first, 0);
    if (flags === UNMAP_VADDR) {
      if (hits.some((entry) => entry.invalid)) return 'EINVAL';
      for (const entry of hits) entry.invalid = true;
    } else this.entries = this.entries.filter((entry) => !hits.includes(entry));
    return `ok ${size}`;
  }

  /** The memory page that a device reads at an iova page. */
  reads(page: number): number | undefined {
    const entry = this.#hits(page, page + 1)[0];
    return entry && entry.memory + page - entry.first;
  }

  isWritable(page: number): boolean {
    return this.#hits(page, page + 1)[0]?.writable ?? false;
  }
}

const operation = fc.record({
  kind: fc.constantFrom('map', 'map', 'map', 'vaddr', 'unmap', 'invalidate', 'poke'),
  first: fc.nat(NR_PAGES - 1),
  nrPages: fc.integer({ min: 1, max: 12 }),
  /** Aim at an entry that exists instead. */
  aim: fc.option(fc.nat(20)),
  memory: fc.nat(NR_PAGES),
  flags: fc.constantFrom(RW, READ),
});

describe.each([
  ['v2', true, '6.12'],
  ['v1', false, '6.12'],
  ['v2', true, '5.12'],
  ['v2', true, '6.2'],
  ['v2', true, '7.2'],
] as const)('%s', (_name, v2, profile) => {
  it(`answers and translates as the model does (${profile})`, () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
        const limit = 8;
        const container = new TestContainer({
          v2,
          profile,
          parameters: { dmaEntryLimit: limit, allowUnsafeInterrupts: false },
        });
        const model = new Model(v2, limit);
        const vaddr = container.memory(2 * NR_PAGES * PAGE);
        for (const { kind, aim, memory, flags, ...range } of operations) {
          const target = aim === null ? undefined : model.entries[aim % Math.max(1, model.entries.length)];
          const first = target?.first ?? range.first;
          const nrPages = target ? target.end - target.first : range.nrPages;
          const [iova, size, at] = [first * PAGE, nrPages * PAGE, vaddr + memory * PAGE];
          if (kind === 'poke') {
            expect(container.reaches(iova)).toBe(model.isWritable(first));
          } else if (kind === 'map' || kind === 'vaddr') {
            const how = kind === 'map' ? flags : VADDR;
            expect(errnoOf(() => container.map(iova, size, at, how))).toBe(model.map(first, nrPages, memory, how));
          } else {
            const how = kind === 'unmap' ? 0 : UNMAP_VADDR;
            let bytes = 0n;
            const code = errnoOf(() => {
              bytes = container.unmap(iova, size, how);
            });
            expect(code === 'ok' ? `ok ${Number(bytes) / PAGE}` : code).toBe(model.unmap(first, nrPages, how));
          }
          const { entries } = model;
          const pages = entries.reduce((sum, entry) => sum + entry.end - entry.first, 0);
          // docs/DESIGN.md, "Invariants", 3
          expect(container.type1.stats).toEqual({
            mappings: entries.length,
            mappedBytes: pages * PAGE,
            invalidVaddrs: entries.filter((entry) => entry.invalid).length,
          });
          expect(container.process.mm.lockedVm).toBe(pages);
          expect(container.machine.pinner.pinnedPages).toBe(pages);
          expect(container.dmaAvail()).toBe(limit - entries.length);
        }
        const memory = container.process.space.vmas[0]!.object.bytes;
        for (let page = 0; page < 2 * NR_PAGES; page++) memory[page * PAGE] = page;
        for (let page = 0; page < NR_PAGES + 12; page++) expect(container.peek(page * PAGE)).toBe(model.reads(page));
        const { driver, pinner } = container.machine;
        container.type1.release();
        expect([pinner.pinnedPages, container.process.mm.lockedVm]).toEqual([0, 0]);
        expect(driver.nrFreePages).toBeGreaterThan(4096 - 16);
        container.close();
      }),
      { numRuns: 25 },
    );
  });
});
