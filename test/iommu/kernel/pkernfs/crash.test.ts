import { fileURLToPath } from 'node:url';
import * as fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { BLOCK_BYTES, KIND } from '../../../../iommu/kernel/pkernfs/layout.ts';
import type { Extents } from '../../../../iommu/kernel/pkernfs/pkernfs.ts';
import { PAGE_SIZE } from '../../../../platform/page.ts';
import { wholeOf } from '../../../../platform/shared.ts';
import { bundle } from '../../../explore/bundle.ts';
import { Life, Mortal } from '../../../vmm/crew/death/mortal.ts';
import type * as Kernel from './death/life.ts';
import type { Change, Found, Listed } from './death/life.ts';

/**
 * PKF-1, RACE-25: a kernel dies at each single store to the memory of pkernfs, and at each call to
 * the board. The next kernel finds all that was there before the change, or all that is there after
 * it, and nothing is damaged or lost.
 */

const GEOMETRY = { nrBlocks: 9, nrKernelBlocks: 4 };
const USER_BLOCKS = GEOMETRY.nrBlocks - GEOMETRY.nrKernelBlocks;
const memory = new SharedArrayBuffer(GEOMETRY.nrKernelBlocks * BLOCK_BYTES);
let mortal: Mortal<typeof Kernel>;

beforeAll(async () => {
  const path = fileURLToPath(new URL('./death/life.ts', import.meta.url));
  mortal = new Mortal(await bundle(path), [wholeOf(memory)]);
});

/** The board's part. It does not die. */
class BoardExtents implements Extents {
  readonly runs = new Map<number, number>();
  readonly #step: () => void;

  constructor(step: () => void, runs: Iterable<readonly [number, number]> = []) {
    this.#step = step;
    for (const [first, count] of runs) this.runs.set(first, count);
  }

  attached(): Iterable<number> {
    return this.runs.keys();
  }

  attach(first: number, count: number): void {
    this.#step();
    if (this.runs.has(first)) throw new Error(`run ${first} is attached twice`);
    this.runs.set(first, count);
  }

  detach(first: number): void {
    this.#step();
    if (!this.runs.delete(first)) throw new Error(`run ${first} is not attached`);
  }
}

/** The model: files by name, or why a change is refused. */
type Files = ReadonlyMap<string, Listed>;

function after(files: Files, change: Change): Files {
  const next = new Map(files);
  const { name } = change;
  const file = files.get(name);
  if (change.op === 'create' && !file) {
    const kernels = [...files.values()].filter(({ kind }) => kind !== KIND.data).length;
    if (!name.startsWith('iommu/')) next.set(name, { name, kind: KIND.data, size: 0 });
    else if (kernels < GEOMETRY.nrKernelBlocks - 1) next.set(name, { name, kind: KIND.domain, size: BLOCK_BYTES });
  }
  if (change.op === 'unlink') next.delete(name);
  if (change.op === 'truncate' && file?.kind === KIND.data && (change.size === 0 || file.size === 0)) {
    next.set(name, { ...file, size: change.size });
  }
  return next;
}

const blocksOf = (files: Files): number =>
  [...files.values()].reduce(
    (sum, { kind, size }) => sum + (kind === KIND.data ? Math.ceil(size / BLOCK_BYTES) : 0),
    0,
  );

function format(): void {
  new Int32Array(memory, 0, (8 * PAGE_SIZE) / 4).fill(0);
}

function run(
  life: Life,
  extents: BoardExtents,
  changes: readonly Change[],
): { found: Found | undefined; made: number } {
  let made = 0;
  const count = (): void => {
    made++;
  };
  const { result } = mortal.live(life, (kernel) => kernel.live(memory, GEOMETRY, extents, changes, count));
  return { found: result, made };
}

const byName = (files: Iterable<Listed>): Listed[] => [...files].sort((a, b) => (a.name < b.name ? -1 : 1));

const names = fc.constantFrom('ram', 'state', 'iommu/dom-0', 'iommu/dom-1');
const change: fc.Arbitrary<Change> = fc.oneof(
  fc.record({ op: fc.constantFrom('create' as const, 'create' as const, 'unlink' as const), name: names }),
  fc.record({
    op: fc.constant('truncate' as const),
    name: fc.constantFrom('ram', 'state'),
    // two files that both fit, and one that leaves room for nothing else
    size: fc.constantFrom(0, PAGE_SIZE, 2 * BLOCK_BYTES, 2 * BLOCK_BYTES + PAGE_SIZE),
  }),
);

describe('a kernel that dies (PKF-1, RACE-25)', () => {
  it('leaves the file system as it was before the change, or as it is after it', () => {
    let deaths = 0;
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 7 }), (changes) => {
        const states: Files[] = [new Map()];
        for (const one of changes) states.push(after(states.at(-1)!, one));
        for (let stores = 0; ; stores++) {
          format();
          const life = new Life(stores);
          const extents = new BoardExtents(() => life.step());
          const { made, found } = run(life, extents, changes);
          const next = new BoardExtents(() => {}, extents.runs);
          const again = run(new Life(1e9), next, []).found!;
          expect(again.damage).toEqual([]);
          const files = byName(again.files);
          const [before, now] = [states[made]!, states[Math.min(made + 1, changes.length)]!];
          const expected = [byName(before.values()), byName(now.values())];
          expect(expected).toContainEqual(files);
          const state = new Map(files.map((file) => [file.name, file]));
          expect(again.free).toBe(USER_BLOCKS - blocksOf(state));
          expect([...next.runs.values()].reduce((sum, n) => sum + n, 0)).toBe(blocksOf(state));
          if (found) break; // it has lived to the end
          deaths++;
        }
      }),
      { numRuns: 40 },
    );
    expect(deaths).toBeGreaterThan(300);
  });

  it('leaves what is found damaged by a bit that has changed', () => {
    fc.assert(
      fc.property(fc.nat({ max: 31 }), fc.nat({ max: 5 }), (bit, word) => {
        format();
        const extents = new BoardExtents(() => {});
        run(new Life(1e9), extents, [
          { op: 'create', name: 'ram' },
          { op: 'truncate', name: 'ram', size: PAGE_SIZE },
        ]);
        const inode = new Int32Array(memory, 2 * PAGE_SIZE, 8);
        inode[word]! ^= 1 << bit;
        const { damage } = run(new Life(1e9), extents, []).found!;
        // the last word is the checksum: as 0 it would say that nothing is there
        expect(damage.length > 0 || inode[5] === 0).toBe(true);
        for (const line of damage) expect(line).toMatch(/^pkernfs: (inode 0 is damaged|ram: its inode 0 is damaged)/);
        expect([...extents.runs.values()]).toEqual([1]); // nothing is given back
      }),
    );
  });
});
