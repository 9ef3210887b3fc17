import { expect, it } from 'vitest';

import { offsetInObject, offsetOfPlace, placeInObject, REGION_OFFSETS } from '../../../iommu/abi/device-object.ts';

const REGIONS = Array.from({ length: 10 }, (_, index) => BigInt(index) << 40n);
const PLACES = [true, false].flatMap((isRam) => REGIONS.map((offset) => offsetInObject(offset + 0x3dn, isRam)));

it('gives each region a place of its own, exact as a number, and finds the offset again', () => {
  expect(new Set(PLACES).size).toBe(PLACES.length);
  expect(PLACES.every((place) => Number.isSafeInteger(Number(place)))).toBe(true);
  expect(PLACES.map(offsetOfPlace)).toEqual([...REGIONS, ...REGIONS].map((offset) => offset + 0x3dn));
  expect(placeInObject(2, true)).toBe(Number(offsetInObject(2n << 40n, true)));
});

it('puts memory below everything else: an object that ends with it has no bytes for registers', () => {
  expect(placeInObject(5, true) + 2 ** 40).toBeLessThan(placeInObject(0, false));
});

it('lets a filter know a place by the upper half', () => {
  const isPlace = (offset: bigint): boolean =>
    (Number(offset >> 32n) & REGION_OFFSETS.mask) === (REGION_OFFSETS.value | 0);
  expect(PLACES.every(isPlace)).toBe(true);
  expect([7n << 40n, 1n << 47n, 1n << 62n].some(isPlace)).toBe(false);
});

it('leaves other offsets alone', () => {
  expect([0n, 7n << 40n, (1n << 63n) + 5n].map(offsetOfPlace)).toEqual([0n, 7n << 40n, (1n << 63n) + 5n]);
});
