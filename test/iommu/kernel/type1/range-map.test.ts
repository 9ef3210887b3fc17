import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RangeMap } from '../../../../iommu/kernel/vfio/type1/range-map.ts';

interface Range {
  readonly vpn: number;
  readonly nrPages: number;
}

const overlaps = (a: Range, vpn: number, end: number): boolean => a.vpn < end && vpn < a.vpn + a.nrPages;

describe('RangeMap', () => {
  it('answers as a plain list does, after any insertions and deletions', () => {
    const operation = fc.record({
      insert: fc.boolean(),
      vpn: fc.oneof(
        fc.nat(200),
        fc.nat(200).map((n) => 2 ** 52 - 220 + n),
      ),
      nrPages: fc.integer({ min: 1, max: 20 }),
    });
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 120 }), (operations) => {
        const map = new RangeMap<Range>();
        let list: Range[] = [];
        for (const { insert, vpn, nrPages } of operations) {
          const end = vpn + nrPages;
          const hits = list.filter((range) => overlaps(range, vpn, end));
          expect(map.overlapping(vpn, nrPages)).toBe(hits[0]);
          expect(map.within(vpn, end)).toEqual(hits);
          if (insert && hits.length === 0) {
            const range = { vpn, nrPages };
            map.insert(range);
            list = [...list, range].sort((a, b) => a.vpn - b.vpn);
          } else if (!insert && hits[0]) {
            map.delete(hits[0]);
            list = list.filter((range) => range !== hits[0]);
          }
          expect(map.size).toBe(list.length);
        }
        expect([...map]).toEqual(list);
      }),
      { numRuns: 200 },
    );
  });

  it('stays in order over many chunks, filled and emptied from any side', () => {
    const map = new RangeMap<Range>();
    const order = Array.from({ length: 5000 }, (_, i) => (i * 2791) % 5000); // a permutation
    for (const i of order) map.insert({ vpn: i * 3, nrPages: 2 });
    expect([...map].map(({ vpn }) => vpn)).toEqual(Array.from({ length: 5000 }, (_, i) => i * 3));
    expect(map.overlapping(3 * 1234 + 2, 1)).toBeUndefined();
    expect(map.overlapping(3 * 1234 + 1, 2)?.vpn).toBe(3 * 1234);
    expect(map.within(3000, 6000).length).toBe(1000);
    for (const i of order.slice(0, 4999)) map.delete(map.overlapping(i * 3, 1)!);
    expect([...map]).toEqual([{ vpn: order[4999]! * 3, nrPages: 2 }]);
  });
});
