/**
 * Litmus tests on harts in threads of their own: whatever their loads find, RVWMO allows it
 * (unpriv-isa §18.1).
 */
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { ACCELS } from '../../../vmm/machine/hart-local/hart-local.ts';
import { Harts } from './litmus/harts.ts';
import { allowed } from './litmus/model.ts';
import { exchange, fence, type Litmus, load, type Operation, type Outcome, store, swap } from './litmus/program.ts';

const [X, Y] = [0, 1];
const ACQUIRE = { aq: true };
const RELEASE = { rl: true };

interface Shape {
  readonly name: string;
  readonly litmus: Litmus;
  /** What must not be found. */
  readonly forbidden?: Outcome;
  /** What RVWMO allows, though no order of whole operations gives it. */
  readonly relaxed?: Outcome;
}

const sb = (...between: Operation[]): Litmus => [
  [store(X, 1), ...between, load(Y)],
  [store(Y, 1), ...between, load(X)],
];
const mp = (writer: Operation[], reader: Operation[]): Litmus => [
  [store(X, 1), ...writer, store(Y, 1)],
  [load(Y), ...reader, load(X)],
];
const iriw = (...between: Operation[]): Litmus => [
  [store(X, 1)],
  [store(Y, 1)],
  [load(X), ...between, load(Y)],
  [load(Y), ...between, load(X)],
];

const SHAPES: readonly Shape[] = [
  { name: 'SB', litmus: sb(), relaxed: '0 | 0' },
  { name: 'SB with fences', litmus: sb(fence()), forbidden: '0 | 0' },
  { name: 'SB with fences of stores to loads', litmus: sb(fence('w', 'r')), forbidden: '0 | 0' },
  { name: 'SB with fences of loads only', litmus: sb(fence('r', 'r')), relaxed: '0 | 0' },
  {
    name: 'SB with swaps that acquire and release',
    litmus: [
      [swap(X, 1, { aq: true, rl: true }), load(Y)],
      [swap(Y, 1, { aq: true, rl: true }), load(X)],
    ],
    forbidden: '0 0 | 0 0',
  },
  { name: 'MP', litmus: mp([], []), relaxed: ' | 1 0' },
  { name: 'MP with fences', litmus: mp([fence('w', 'w')], [fence('r', 'r')]), forbidden: ' | 1 0' },
  {
    name: 'MP with a swap that releases and one that acquires',
    litmus: [
      [store(X, 1), swap(Y, 1, RELEASE)],
      [swap(Y, 2, ACQUIRE), load(X)],
    ],
    forbidden: '0 | 1 0',
  },
  {
    name: 'MP with an exchange by LR and SC that releases and one that acquires',
    litmus: [
      [store(X, 1), exchange(Y, 1, RELEASE)],
      [exchange(Y, 2, ACQUIRE), load(X)],
    ],
    forbidden: '0 | 1 0',
  },
  {
    name: 'MP with exchanges by LR and SC',
    litmus: [
      [store(X, 1), exchange(Y, 1)],
      [exchange(Y, 2), load(X)],
    ],
    relaxed: '0 | 1 0',
  },
  // the SC, which stores, may come after the load
  {
    name: 'SB with exchanges by LR and SC that acquire and release',
    litmus: [
      [exchange(X, 1, { aq: true, rl: true }), load(Y)],
      [exchange(Y, 1, { aq: true, rl: true }), load(X)],
    ],
    relaxed: '0 0 | 0 0',
  },
  { name: 'two exchanges by LR and SC', litmus: [[exchange(X, 1)], [exchange(X, 2)]], forbidden: '0 | 0' },
  { name: 'an exchange by LR and SC, and a swap', litmus: [[exchange(X, 1)], [swap(X, 2)]], forbidden: '0 | 0' },
  {
    name: 'an exchange by LR and SC, and a store',
    litmus: [[exchange(X, 1), load(X)], [store(X, 2)]],
    forbidden: '2 0 | ',
  },
  {
    name: 'three exchanges by LR and SC',
    litmus: [[exchange(X, 1)], [exchange(X, 2)], [exchange(X, 3)]],
    forbidden: '0 | 1 | 1',
  },
  {
    name: 'LB',
    litmus: [
      [load(X), store(Y, 1)],
      [load(Y), store(X, 1)],
    ],
    relaxed: '1 | 1',
  },
  {
    name: 'LB with fences',
    litmus: [
      [load(X), fence('r', 'w'), store(Y, 1)],
      [load(Y), fence('r', 'w'), store(X, 1)],
    ],
    forbidden: '1 | 1',
  },
  { name: 'IRIW', litmus: iriw(), relaxed: ' |  | 1 0 | 1 0' },
  { name: 'IRIW with fences', litmus: iriw(fence()), forbidden: ' |  | 1 0 | 1 0' },
  { name: 'CoRR', litmus: [[store(X, 1)], [load(X), load(X)]], forbidden: ' | 1 0' },
  { name: 'CoWR', litmus: [[store(X, 1), load(X)], [store(X, 2)]], forbidden: '0 | ' },
];

describe('the model of RVWMO', () => {
  it.each(SHAPES)('knows $name', ({ litmus, forbidden, relaxed }) => {
    const outcomes = allowed(litmus);
    if (forbidden !== undefined) expect([...outcomes]).not.toContain(forbidden);
    if (relaxed !== undefined) expect([...outcomes]).toContain(relaxed);
  });
});

const KINDS = fc.constantFrom('r', 'w', 'rw') as fc.Arbitrary<'r' | 'w' | 'rw'>;
const LOCATION = fc.constantFrom(X, Y);
const MEMORY: fc.Arbitrary<Operation> = fc.oneof(
  LOCATION.map(load),
  LOCATION.map((at) => store(at, 1)),
  fc.tuple(LOCATION, fc.boolean(), fc.boolean()).map(([at, aq, rl]) => swap(at, 1, { aq, rl })),
);
/** As many memory operations of the model as two others. */
const EXCHANGE: fc.Arbitrary<Operation> = fc
  .tuple(LOCATION, fc.boolean(), fc.boolean())
  .map(([at, aq, rl]) => exchange(at, 1, { aq, rl }));
const FENCE: fc.Arbitrary<Operation> = fc.tuple(KINDS, KINDS).map(([before, after]) => fence(before, after));
const fenced = (pairs: readonly (readonly [Operation, Operation | null])[]): readonly Operation[] =>
  pairs.flatMap(([access, barrier]) => (barrier ? [access, barrier] : [access]));
/** One to three accesses, or an exchange and perhaps another access; perhaps with fences. */
const PROGRAM: fc.Arbitrary<readonly Operation[]> = fc.oneof(
  fc.array(fc.tuple(MEMORY, fc.option(FENCE)), { minLength: 1, maxLength: 3 }).map(fenced),
  fc
    .tuple(fc.tuple(EXCHANGE, fc.option(FENCE)), fc.option(fc.tuple(MEMORY, fc.option(FENCE))), fc.boolean())
    .map(([first, other, swapped]) => fenced(other ? (swapped ? [other, first] : [first, other]) : [first])),
);
/**
 * All stores have values of their own: an SC compares what it finds with what LR saw
 * (guest/riscv/atomic.ts), and RVWMO does not.
 */
const numbered = (litmus: Litmus): Litmus => {
  let value = 0;
  return litmus.map((program) => program.map((each) => ('value' in each ? { ...each, value: ++value } : each)));
};
const LITMUS: fc.Arbitrary<Litmus> = fc.array(PROGRAM, { minLength: 2, maxLength: 2 }).map(numbered);

const TIMEOUT_MS = 120_000;
const ROUNDS = 2000;

describe.each(ACCELS)('harts of %s', (accel) => {
  let harts: Harts;
  beforeAll(async () => {
    harts = await Harts.start(4, accel);
  }, TIMEOUT_MS);
  afterAll(() => harts.end());

  /** What they find, run by run, and must not. */
  async function forbiddenIn(litmus: Litmus, runs: number): Promise<readonly Outcome[]> {
    const outcomes = allowed(litmus);
    const bad = new Set<Outcome>();
    for (let run = 0; run < runs; run++) {
      for (const outcome of (await harts.run(litmus, ROUNDS)).keys()) if (!outcomes.has(outcome)) bad.add(outcome);
    }
    return [...bad];
  }

  it.each(SHAPES)('find in $name what RVWMO allows', { timeout: TIMEOUT_MS }, async ({ litmus }) => {
    expect(await forbiddenIn(litmus, 8)).toEqual([]);
  });

  // the only shape of these where an x86 host needs the fence; the more runs, the surer it is seen
  it('do not both miss what the other has stored before a fence', { timeout: TIMEOUT_MS }, async () => {
    expect(await forbiddenIn(sb(fence()), 40)).toEqual([]);
  });

  it('find what RVWMO allows in random tests', { timeout: TIMEOUT_MS }, async () => {
    await fc.assert(
      fc.asyncProperty(LITMUS, async (litmus) => {
        expect(await forbiddenIn(litmus, 1)).toEqual([]);
      }),
      { numRuns: 25 },
    );
  });
});
