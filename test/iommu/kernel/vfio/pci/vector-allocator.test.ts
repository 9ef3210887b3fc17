import { expect, it } from 'vitest';

import { VectorAllocator } from '../../../../../iommu/kernel/vfio/pci/vector-allocator.ts';

it('gives blocks from a multiple of their size, as a function puts the number of its message into the low bits', () => {
  const vectors = new VectorAllocator(16);
  expect([1, 4, 2, 8, 1].map((count) => vectors.allocate(count))).toEqual([0, 4, 2, 8, 1]);
});

it('gives again what was given back, and ENOSPC when no block is left', () => {
  const vectors = new VectorAllocator(8);
  expect([4, 4].map((count) => vectors.allocate(count))).toEqual([0, 4]);
  expect(() => vectors.allocate(1)).toThrow(expect.objectContaining({ code: 'ENOSPC' }));
  vectors.free(4, 4);
  expect([2, 2].map((count) => vectors.allocate(count))).toEqual([4, 6]);
});
