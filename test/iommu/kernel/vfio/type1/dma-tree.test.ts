import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DmaRange, DmaTree, IOVA_END } from '../../../../../iommu/kernel/vfio/type1/dma-tree.ts';

class Range extends DmaRange<Range> {
  readonly vpn: number;
  readonly nrPages: number;

  constructor(vpn: number, nrPages: number) {
    super();
    this.vpn = vpn;
    this.nrPages = nrPages;
  }

  get end(): number {
    return this.vpn + this.nrPages;
  }
}

const vpns = (ranges: Iterable<Range>): number[] => [...ranges].map(({ vpn }) => vpn);

function treeOf(lastPage: 'works' | 'broken', ...ranges: readonly Range[]): DmaTree<Range> {
  const tree = new DmaTree<Range>({ lastPage });
  for (const range of ranges) tree.insert(range);
  return tree;
}

/**
 * Any insertions and deletions of ranges that begin in [from, from + 200), against a plain list.
 */
function compare(lastPage: 'works' | 'broken', from: number): void {
  const operation = fc.record({
    insert: fc.boolean(),
    vpn: fc.nat(199).map((n) => from + n),
    nrPages: fc.integer({ min: 1, max: 20 }),
  });
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 120 }), (operations) => {
      const tree = new DmaTree<Range>({ lastPage });
      let list: Range[] = [];
      for (const { insert, vpn, nrPages } of operations) {
        const end = vpn + nrPages;
        const hits = list.filter((range) => range.vpn < end && vpn < range.end);
        const found = tree.find(vpn, nrPages);
        expect(found === undefined ? hits.length === 0 : hits.includes(found)).toBe(true);
        expect([...tree.within(vpn, end)]).toEqual(hits);
        if (insert && !found) {
          const range = new Range(vpn, nrPages);
          tree.insert(range);
          list = [...list, range].sort((a, b) => a.vpn - b.vpn);
        } else if (!insert && found) {
          tree.delete(found);
          list = list.filter((range) => range !== found);
        }
        expect(tree.size).toBe(list.length);
      }
      expect([...tree]).toEqual(list);
      expect([...tree.withinAll()]).toEqual(list);
    }),
    { numRuns: 200 },
  );
}

describe('DmaTree', () => {
  it('answers as a plain list does', () => compare('broken', 0));
  it('answers so up to 2^64 where the last page works', () => compare('works', IOVA_END - 220));

  it('lets its ranges be deleted in a walk', () => {
    const tree = treeOf('works', ...Array.from({ length: 100 }, (_, i) => new Range(i * 2, 1)));
    for (const range of tree.within(20, 60)) tree.delete(range);
    expect(vpns(tree)).toEqual(
      [...Array(10).keys(), ...Array.from({ length: 70 }, (_, i) => i + 30)].map((i) => i * 2),
    );
    for (const range of tree) tree.delete(range);
    expect(tree.size).toBe(0);
  });

  it('stays in order over many ranges, filled and emptied from any side', () => {
    const tree = new DmaTree<Range>({ lastPage: 'works' });
    const order = Array.from({ length: 5000 }, (_, i) => (i * 2791) % 5000); // a permutation
    for (const i of order) tree.insert(new Range(i * 3, 2));
    expect(vpns(tree)).toEqual(Array.from({ length: 5000 }, (_, i) => i * 3));
    expect(tree.find(3 * 1234 + 2, 1)).toBeUndefined();
    expect(tree.find(3 * 1234 + 1, 2)?.vpn).toBe(3 * 1234);
    expect([...tree.within(3000, 6000)].length).toBe(1000);
    for (const i of order.slice(0, 4999)) tree.delete(tree.find(i * 3, 1)!);
    expect(vpns(tree)).toEqual([order[4999]! * 3]);
  });
});

describe('a mapping that ends at 2^64, where the kernel takes that for 0 (RACE-10)', () => {
  const last = (nrPages = 1): Range => new Range(IOVA_END - nrPages, nrPages);
  const low = (): Range => new Range(16, 4);

  it('is found by nobody', () => {
    const tree = treeOf('broken', low(), last(2));
    for (const nrPages of [1, 2]) {
      expect(tree.find(IOVA_END - nrPages, nrPages)).toBeUndefined();
      expect(vpns(tree.within(IOVA_END - nrPages, IOVA_END))).toEqual([]);
    }
    expect(tree.find(IOVA_END - 2, 1)).toBeUndefined();
    expect(vpns(tree)).toEqual([16, IOVA_END - 2]);
  });

  it('hides what is to its left from those who look for the first of a range', () => {
    const tree = treeOf('broken', last(), low()); // the root, as it came first
    expect(tree.find(16, 4)?.vpn).toBe(16);
    expect(vpns(tree.within(16, 20))).toEqual([]);
    expect(vpns(tree.withinAll())).toEqual([]);
  });

  it('is met by a walk that began below it', () => {
    const tree = treeOf('broken', low(), last());
    expect(vpns(tree.within(16, 20))).toEqual([16]);
    expect(vpns(tree.withinAll())).toEqual([16, IOVA_END - 1]);
  });

  it('may be there several times', () => {
    const tree = treeOf('broken', last(), last(), last(), low());
    expect(tree.size).toBe(4);
    expect(vpns(tree)).toEqual([16, IOVA_END - 1, IOVA_END - 1, IOVA_END - 1]);
  });

  it('is not needed for a range up to there to find nothing', () => {
    const tree = treeOf('broken', low());
    expect(tree.find(0, IOVA_END)).toBeUndefined();
    expect(vpns(tree.within(0, IOVA_END))).toEqual([]);
    expect(vpns(tree.withinAll())).toEqual([16]);
  });
});
