import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { physical } from '../../../guest/riscv/access.ts';
import { Core } from '../../../guest/riscv/core.ts';
import { ControlStatus } from '../../../guest/riscv/csr.ts';
import { MODE_S } from '../../../guest/riscv/isa.ts';
import { Memory } from '../../../guest/riscv/memory.ts';
import { FETCH, LOAD, STORE } from '../../../guest/riscv/pmp.ts';
import { emptyBus, RAM_BASE } from './fixture.ts';
import { ALL, PTE } from './supervisor.ts';

const SV39 = 8n << 60n;
const PAGE = 4096;
const MEGAPAGE = 512 * PAGE;
const RAM_BYTES = 3 * MEGAPAGE;
const [ROOT, MIDDLE, LEAVES] = [0x1000, 0x2000, 0x3000];

/** A leaf entry: where it lies in RAM, and the vaddrs that it translates. */
interface Leaf {
  readonly at: number;
  readonly start: number;
  readonly size: number;
}
/** Two megapages and four pages, of which two share their place in each direct-mapped TLB. */
const LEAVES_OF_ALL: readonly Leaf[] = [
  { at: MIDDLE, start: 0, size: MEGAPAGE },
  { at: MIDDLE + 8, start: MEGAPAGE, size: MEGAPAGE },
  ...[0, 1, 256, 511].map((i) => ({ at: LEAVES + 8 * i, start: 2 * MEGAPAGE + PAGE * i, size: PAGE })),
];

const flags = BigInt(PTE.V | PTE.R | PTE.W | PTE.X | PTE.A | PTE.D);
const entry = (gpa: number): bigint => (BigInt(gpa / PAGE) << 10n) | flags;

/** A core in S mode with these tables. */
function paged(): Core {
  const ram = new SharedArrayBuffer(RAM_BYTES);
  const core = new Core(
    new ControlStatus({
      ...{ hartId: 0, ram, ramBase: RAM_BASE, bus: emptyBus },
      ...{ lines: new Int32Array(new SharedArrayBuffer(4)), lineIndex: 0, time: () => 0n },
    }),
    new Memory({ bytes: ram, base: RAM_BASE, offset: 0 }, emptyBus),
  );
  core.csr.pmp.restore(ALL.config, ALL.address);
  core.csr.mode = MODE_S;
  core.csr.satp = SV39 | BigInt((RAM_BASE + ROOT) / PAGE);
  const pointer = (table: number) => (BigInt((RAM_BASE + table) / PAGE) << 10n) | BigInt(PTE.V);
  core.memory.i64[ROOT / 8] = pointer(MIDDLE);
  core.memory.i64[MIDDLE / 8 + 2] = pointer(LEAVES);
  core.look();
  return core;
}

/** In a leaf of either size; two of them share their place in a TLB. */
const offset = fc.constantFrom(0, 8, 3 * PAGE, 256 * PAGE, MEGAPAGE - 8);
const leafIndex = fc.nat({ max: LEAVES_OF_ALL.length - 1 });
const operation = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({ does: fc.constant('map' as const), leaf: leafIndex, frame: fc.constantFrom(0, 1, 2, 1, 2) }),
  },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('fence' as const), leaf: leafIndex, offset }) },
  {
    weight: 4,
    arbitrary: fc.record({
      does: fc.constant('access' as const),
      leaf: leafIndex,
      offset,
      kind: fc.constantFrom(LOAD, STORE, FETCH),
    }),
  },
);

describe('SFENCE.VMA with an address (priv-isa §10.2.1)', () => {
  it('makes the leaf entry of that address new, of whatever size; others may be old', () => {
    fc.assert(
      fc.property(fc.array(operation, { minLength: 300, maxLength: 400 }), (operations) => {
        const core = paged();
        const wrong: unknown[] = [];
        // by leaf: what it may translate to, which are all entries since its last fence; 0 is none
        const may = LEAVES_OF_ALL.map(() => new Set([0]));
        const now = LEAVES_OF_ALL.map(() => 0);
        for (const step of operations) {
          const leaf = LEAVES_OF_ALL[step.leaf]!;
          const allowed = may[step.leaf]!;
          if (step.does === 'map') {
            const gpa = step.frame === 0 ? 0 : RAM_BASE + step.frame * MEGAPAGE;
            now[step.leaf] = gpa;
            allowed.add(gpa);
            core.memory.i64[leaf.at / 8] = gpa === 0 ? 0n : entry(gpa);
          } else if (step.does === 'fence') {
            core.mmu.flushAddress(leaf.start + (step.offset % leaf.size));
            may[step.leaf] = new Set([now[step.leaf]!]);
          } else {
            const within = step.offset % leaf.size;
            const tlb = core.mmu.tlb(MODE_S, core.csr.mstatus);
            const cached = tlb.find(step.kind, leaf.start + within, (leaf.start + within) | 0);
            const gpa = cached >= 0 ? RAM_BASE + cached : physical(core, leaf.start + within, step.kind);
            if (!allowed.has(gpa === undefined ? 0 : gpa - within)) wrong.push({ ...step, gpa });
          }
        }
        expect(wrong).toEqual([]);
      }),
      { numRuns: 30, endOnFailure: true },
    );
  });

  it('of an address that nothing can be translated at does nothing', () => {
    const core = paged();
    core.memory.i64[MIDDLE / 8] = entry(RAM_BASE);
    physical(core, 0x123, LOAD);
    core.mmu.flushAddress(2 ** 60);
    expect(core.mmu.tlb(MODE_S, core.csr.mstatus).find(LOAD, 0x123, 0x123)).toBe(0x123);
  });
});
