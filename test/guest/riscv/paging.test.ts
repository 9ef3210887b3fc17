import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { encode } from './encode.ts';
import { RAM_BASE, RAM_SIZE } from './fixture.ts';
import { type Given, M_HANDLER, MODE, PTE, registers, supervisor, trapOf } from './supervisor.ts';

const SUM = 1 << 18;
const MXR = 1 << 19;
const MPRV = 1 << 17;
const SV39 = 8n << 60n;
const SV48 = 9n << 60n;

/** Where the tables and the pages lie in RAM. */
const ROOT = 0x2000;
const MIDDLE = 0x3000;
const LEAVES = 0x4000;
const TOP = 0x5000; // the root of four levels
const PAGE_A = 0x8000;
const PAGE_B = 0xa000;
const { V, R, W, X, U, A, D } = PTE;
const ALL = V | R | W | X | A | D;

/** The page of code, and two pages of data side by side, at the top of the address space. */
const CODE = -0x20_0000n;
const DATA = CODE + 0x1000n;
const NEXT = CODE + 0x2000n;

const entry = (offset: number, flags: number): bigint => (BigInt((RAM_BASE + offset) / 4096) << 10n) | BigInt(flags);
const u64 = (value: bigint) => BigInt.asUintN(64, value);

interface Paged extends Given {
  readonly code?: number;
  readonly data?: number;
  readonly next?: number;
  readonly levels?: 3 | 4;
}

/** A hart in S mode whose code runs at CODE, in Sv39 or Sv48. */
function paged({ code = V | R | X | A, data = ALL, next = ALL, levels = 3, privileged = {}, ...given }: Paged) {
  const satp = (levels === 3 ? SV39 : SV48) | BigInt((RAM_BASE + (levels === 3 ? ROOT : TOP)) / 4096);
  const fixture = supervisor({ pc: Number(CODE), ...given, privileged: { medeleg: 0, satp, ...privileged } });
  const put = (table: number, index: number, pte: bigint) => fixture.ram.setBigUint64(table + 8 * index, pte, true);
  put(TOP, 511, entry(ROOT, V));
  put(ROOT, 511, entry(MIDDLE, V));
  put(MIDDLE, 511, entry(LEAVES, V));
  put(LEAVES, 0, entry(0, code));
  put(LEAVES, 1, entry(PAGE_A, data));
  put(LEAVES, 2, entry(PAGE_B, next));
  const flagsOf = (index: number) => Number(fixture.ram.getBigUint64(LEAVES + 8 * index, true) & 0xffn);
  return { ...fixture, put, flagsOf };
}

const load = encode('ld', { rd: 10, rs1: 11 });
const store = encode('sd', { rs1: 11, rs2: 12 });
const x = registers({ 11: DATA, 12: 0x1122_3344_5566_7788n });

describe('Sv39 and Sv48 (priv-isa §10.4, §10.5)', () => {
  it.each([3, 4] as const)('reads, writes and fetches through %i levels', (levels) => {
    const fixture = paged({ words: [store, load], x, levels });
    fixture.hart.run(2);
    expect(fixture.get('a0')).toBe(0x1122_3344_5566_7788n);
    expect(fixture.ram.getBigUint64(PAGE_A, true)).toBe(0x1122_3344_5566_7788n);
    expect(fixture.hart.pc).toBe(Number(CODE) + 8);
  });

  it.each([
    ['the last address of the low half', 2n ** 38n - 1n, 3, 13n],
    ['one above it', 2n ** 38n, 3, 13n],
    ['one above it, in Sv48', 2n ** 47n, 4, 13n],
    ['an address that no double holds', 2n ** 63n - 1n, 3, 13n],
    ['far below', -(2n ** 60n), 4, 13n],
  ] as const)('faults at %s, with all of it in tval', (_, vaddr, levels, cause) => {
    const fixture = paged({ words: [encode('lb', { rd: 10, rs1: 11 })], x: registers({ 11: vaddr }), levels });
    fixture.step();
    expect(trapOf(fixture)).toEqual({ mode: MODE.M, cause, tval: u64(vaddr), epc: u64(CODE) });
  });

  it('translates megapages, and refuses misaligned ones', () => {
    const vaddr = CODE - 0x40_0000n + 0x8123n;
    const fixture = paged({ words: [encode('lb', { rd: 10, rs1: 11 })], x: registers({ 11: vaddr }) });
    fixture.ram.setUint8(0x8123, 0x5a);
    fixture.put(MIDDLE, 509, entry(0, ALL));
    fixture.step();
    expect(fixture.get('a0')).toBe(0x5an);
    const misaligned = paged({ words: [encode('lb', { rd: 10, rs1: 11 })], x: registers({ 11: vaddr }) });
    misaligned.put(MIDDLE, 509, entry(0x1000, ALL));
    misaligned.step();
    expect(trapOf(misaligned)?.cause).toBe(13n);
  });

  it.each([
    ['not valid', ALL & ~V],
    ['W without R', V | W | A | D],
    ['a pointer at the last level', V],
    ['a reserved bit', ALL, 1n << 60n],
    ['PBMT', ALL, 1n << 61n],
  ])('faults at an entry that is %s', (_, flags, bits = 0n) => {
    const fixture = paged({ words: [load], x });
    fixture.put(LEAVES, 1, entry(PAGE_A, flags) | bits);
    fixture.step();
    expect(trapOf(fixture)).toMatchObject({ cause: 13n, tval: u64(DATA) });
  });

  it('raises an access fault where a table is no RAM', () => {
    const fixture = paged({ words: [store], x });
    fixture.put(MIDDLE, 510, (0x1234n << 10n) | BigInt(V));
    fixture.hart.restore({ ...fixture.hart.save(), x: registers({ 11: CODE - 0x20_0000n }) });
    fixture.step();
    expect(trapOf(fixture)?.cause).toBe(7n);
  });
});

describe('permissions (priv-isa §10.3.2 step 5, §3.1.6.3)', () => {
  it.each([
    ['a load of X only', load, V | X | A, 0, 13n],
    ['a load of X only with MXR', load, V | X | A, MXR, undefined],
    ['a load of R', load, V | R | A, 0, undefined],
    ['a store to R', store, V | R | A | D, 0, 15n],
    ['a store to RW', store, V | R | W | A | D, 0, undefined],
    ['a load of U by S', load, ALL | U, 0, 13n],
    ['a load of U by S with SUM', load, ALL | U, SUM, undefined],
    ['a store to U by S with SUM', store, ALL | U, SUM, undefined],
    ['lr of a page without R', encode('lr.d', { rd: 10, rs1: 11 }), V | X | A, 0, 13n],
    ['amoadd to a page without W', encode('amoadd.d', { rd: 10, rs1: 11, rs2: 12 }), V | R | A | D, 0, 15n],
    ['sc to a page without W', encode('sc.d', { rd: 10, rs1: 11, rs2: 12 }), V | R | A | D, 0, 15n],
  ])('%s', (_, word, data, mstatus, cause) => {
    const fixture = paged({ words: [word], x, data, mstatus });
    fixture.step();
    expect(trapOf(fixture)?.cause).toBe(cause);
  });

  it.each([
    ['S, not X', MODE.S, V | R | A, 12n],
    ['S, a page of U', MODE.S, V | R | X | A | U, 12n],
    ['S, a page of U with SUM', MODE.S, V | R | X | A | U, 12n],
    ['U, a page of S', MODE.U, V | R | X | A, 12n],
    ['U, its own', MODE.U, V | R | X | A | U, undefined],
  ])('a fetch: %s', (_, mode, code, cause) => {
    const fixture = paged({ words: [encode('addi')], code, mstatus: SUM, privileged: { mode } });
    fixture.step();
    expect(trapOf(fixture)?.cause).toBe(cause);
  });

  it('MPRV makes loads and stores of M mode those of MPP, but not fetches', () => {
    const privileged = { mode: MODE.M, mpp: MODE.S };
    const fixture = paged({ words: [load, store], x, mstatus: MPRV, pc: RAM_BASE, privileged, data: V | R | A });
    fixture.ram.setBigUint64(PAGE_A, 77n, true);
    fixture.hart.run(2);
    expect(fixture.get('a0')).toBe(77n);
    expect(trapOf(fixture)).toMatchObject({ mode: MODE.M, cause: 15n, tval: u64(DATA) });
  });
});

describe('A and D (priv-isa §10.3.2 step 7, Svadu)', () => {
  it.each([
    ['a load sets A', load, V | R | W, V | R | W | A],
    ['a store sets A and D', store, V | R | W, V | R | W | A | D],
    ['a load leaves D', load, V | R | W | A, V | R | W | A],
    ['a store sets D', store, V | R | W | A, V | R | W | A | D],
  ])('%s', (_, word, before, after) => {
    const fixture = paged({ words: [word], x, data: before });
    fixture.step();
    expect([trapOf(fixture), fixture.flagsOf(1)]).toEqual([undefined, after]);
  });

  it('a store after a load of the same page sets D', () => {
    const fixture = paged({ words: [load, store], x, data: V | R | W });
    fixture.hart.run(2);
    expect(fixture.flagsOf(1)).toBe(V | R | W | A | D);
  });

  it('a fetch sets A', () => {
    const fixture = paged({ words: [load], x, code: V | X });
    fixture.step();
    expect(fixture.flagsOf(0)).toBe(V | X | A);
  });

  it.each([
    ['a load without A', load, V | R | W, 13n],
    ['a store without D', store, V | R | W | A, 15n],
  ])('%s faults without menvcfg.ADUE, and leaves the entry', (_, word, data, cause) => {
    const fixture = paged({ words: [word], x, data, privileged: { menvcfg: 0n } });
    fixture.step();
    expect([trapOf(fixture)?.cause, fixture.flagsOf(1)]).toEqual([cause, data]);
  });
});

describe('accesses that cross a page', () => {
  const at = (offset: bigint) => registers({ 11: DATA + 0x1000n - offset, 12: 0x1122_3344_5566_7788n });

  it('takes each part from its page', () => {
    const fixture = paged({ words: [store, load], x: at(3n) });
    fixture.hart.run(2);
    expect(fixture.get('a0')).toBe(0x1122_3344_5566_7788n);
    expect(fixture.ram.getUint32(PAGE_A + 0xffd, true) & 0xff_ffff).toBe(0x66_7788);
    expect(fixture.ram.getUint32(PAGE_B, true)).toBe(0x2233_4455);
  });

  it('names the part that faults, and has done nothing then', () => {
    const fixture = paged({ words: [store], x: at(3n), next: V | R | A });
    fixture.step();
    expect(trapOf(fixture)).toMatchObject({ cause: 15n, tval: u64(NEXT) });
    expect(fixture.ram.getUint32(PAGE_A + 0xffc, true)).toBe(0);
  });

  it('fetches an instruction from two pages, and names the part that faults', () => {
    const last = 0xffe;
    const given = { pc: Number(CODE) + last, x, data: V | R | X | A };
    const run = (data: number) => {
      const fixture = paged({ ...given, data });
      fixture.ram.setUint16(last, load & 0xffff, true);
      fixture.ram.setUint16(PAGE_A, load >>> 16, true);
      fixture.step();
      return fixture;
    };
    expect(run(V | R | X | A).hart.pc).toBe(Number(CODE) + last + 4);
    expect(trapOf(run(V | R | A))).toMatchObject({ cause: 12n, tval: u64(DATA), epc: u64(CODE + BigInt(last)) });
  });
});

describe('the TLB', () => {
  it('may keep an entry until SFENCE.VMA, and does not after it', () => {
    const fence = encode('sfence.vma');
    const fixture = paged({ words: [load, fence, load], x });
    fixture.hart.run(1);
    fixture.put(LEAVES, 1, entry(PAGE_A, ALL & ~V));
    fixture.hart.run(2);
    expect(trapOf(fixture)?.cause).toBe(13n);
  });

  it('forgets all at a write to satp', () => {
    const fixture = paged({ words: [load, encode('csrrw', { rs1: 13, csr: 0x180 }), load], x });
    const state = fixture.hart.save();
    const values = [...state.x];
    values[12] = BigInt.asIntN(64, state.privileged!.satp);
    fixture.hart.restore({ ...state, x: values });
    fixture.hart.run(1);
    fixture.put(LEAVES, 1, entry(PAGE_A, ALL & ~V));
    fixture.hart.run(2);
    expect(trapOf(fixture)?.cause).toBe(13n);
  });

  it('does not let U use what S has looked up', () => {
    const fixture = paged({ words: [load, encode('sret'), load], x, code: V | R | X | A });
    const { privileged, ...state } = fixture.hart.save();
    fixture.hart.restore({ ...state, privileged: { ...privileged!, sepc: u64(CODE + 8n) } });
    fixture.hart.run(2);
    expect(fixture.hart.save().privileged?.mode).toBe(MODE.U);
    fixture.step();
    expect(trapOf(fixture)).toMatchObject({ cause: 12n, tval: u64(CODE + 8n) });
  });

  it('reaches devices behind pages, each access translated', () => {
    const seen: number[] = [];
    const bus = { load: (gpa: number) => BigInt(seen.push(gpa)), store: () => false };
    const fixture = paged({ words: [load, load], x, bus });
    fixture.put(LEAVES, 1, (0x1_0000n << 10n) | BigInt(ALL));
    fixture.hart.run(2);
    expect([seen, fixture.get('a0')]).toEqual([[0x1000_0000, 0x1000_0000], 2n]);
  });
});

/** §10.3.2 as a naive reader has it, on one leaf entry of the data page. */
function modelFault(access: 'load' | 'store', mode: number, flags: number, mstatus: number): boolean {
  const has = (bit: number) => (flags & bit) !== 0;
  if (!has(V) || (!has(R) && (has(W) || !has(X)))) return true;
  if (mode === MODE.U ? !has(U) : has(U) && !(mstatus & SUM)) return true;
  if (access === 'store') return !has(W);
  return !has(R) && !(has(X) && mstatus & MXR);
}

it('faults as the manual says, whatever the flags, the mode, SUM and MXR', () => {
  const bit = (value: number) => fc.constantFrom(0, value);
  const status = fc.tuple(bit(SUM), bit(MXR)).map(([sum, mxr]) => sum | mxr);
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 255 }),
      fc.constantFrom(0, 1),
      fc.boolean(),
      status,
      (data, mode, isStore, mstatus) => {
        // the accesses are made in M mode with MPRV, so that the code needs no page
        const fixture = paged({
          words: [isStore ? store : load],
          x,
          data,
          pc: RAM_BASE,
          mstatus: mstatus | MPRV,
          privileged: { mode: MODE.M, mpp: mode },
        });
        fixture.step();
        expect(fixture.hart.pc === M_HANDLER).toBe(modelFault(isStore ? 'store' : 'load', mode, data, mstatus));
      },
    ),
    { numRuns: 500 },
  );
  expect(RAM_SIZE).toBeGreaterThan(PAGE_B);
});
