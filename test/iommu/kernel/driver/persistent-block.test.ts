import { fileURLToPath } from 'node:url';
import * as fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { wholeOf } from '../../../../platform/shared.ts';

import { bundle } from '../../../explore/bundle.ts';
import { Life, Mortal } from '../../../vmm/crew/death/mortal.ts';
import type * as Tables from './death/tables.ts';
import type { Change } from './death/tables.ts';

/** Places of one, two or 512 pages, some in the same table. */
const PLACES = [
  { vpn: 0, nrPages: 1 },
  { vpn: 5, nrPages: 2 },
  { vpn: 512, nrPages: 512 },
  { vpn: 1024 + 7, nrPages: 1 },
  { vpn: 512 * 512 + 3, nrPages: 1 },
];
const PFN = 0x40_0000;
const memory = new SharedArrayBuffer(2 * 2 ** 20);
let mortal: Mortal<typeof Tables>;

beforeAll(async () => {
  mortal = new Mortal(await bundle(fileURLToPath(new URL('./death/tables.ts', import.meta.url))), [wholeOf(memory)]);
});

/**
 * What is mapped after these: maps of what is mapped are refused, as unmaps of nothing do nothing.
 */
const mappedAfter = (changes: readonly Change[]): Set<number> => {
  const mapped = new Set<number>();
  for (const { map, vpn } of changes) {
    if (map) mapped.add(vpn);
    else mapped.delete(vpn);
  }
  return mapped;
};

describe('page tables in a block of pkernfs (PKF-1)', () => {
  it('are found whole by the next kernel, at whatever store the last one has died', () => {
    const change = fc
      .tuple(fc.boolean(), fc.nat({ max: PLACES.length - 1 }))
      .map(([map, i]) => ({ map, ...PLACES[i]! }));
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 5 }), (changes) => {
        for (let stores = 0; ; stores++) {
          new Int32Array(memory).fill(0);
          let made = 0;
          const { result } = mortal.live(new Life(stores), ({ live }) => live(memory, changes, () => void made++));
          const { result: next } = mortal.live(new Life(1e9), ({ live }) => live(memory, [], () => undefined));
          const before = mappedAfter(changes.slice(0, made));
          const underWay = changes[made]?.vpn;
          for (const { vpn, nrPages } of PLACES) {
            if (vpn === underWay) continue; // some of its pages, and none of them wrong
            for (const page of [vpn, vpn + nrPages - 1]) {
              expect(next!.pfnOf(page)).toBe(before.has(vpn) ? PFN + page : undefined);
            }
          }
          if (underWay !== undefined) expect([undefined, PFN + underWay]).toContain(next!.pfnOf(underWay));
          if (result) break;
        }
      }),
      { numRuns: 25 },
    );
  });
});
