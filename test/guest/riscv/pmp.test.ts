import { describe, expect, it } from 'vitest';

import { Pmp } from '../../../guest/riscv/pmp.ts';
import { encode } from './encode.ts';
import { RAM_BASE } from './fixture.ts';
import { MODE, registers, supervisor, trapOf } from './supervisor.ts';

const [R, W, X] = [1, 2, 4];
const TOR = 1 << 3;
const NA4 = 2 << 3;
const NAPOT = 3 << 3;
const L = 1 << 7;
const page = (n: number) => BigInt(n) << 10n;
/** pmpaddr of a naturally aligned range of pages, a power of two. */
const napot = (first: number, pages: number) => page(first) | ((page(pages) >> 1n) - 1n);

/** Entries as [config, address]. */
function pmpOf(...entries: readonly (readonly [number, bigint])[]): Pmp {
  const pmp = new Pmp();
  entries.forEach(([, address], i) => {
    pmp.writeAddress(i, address);
  });
  pmp.writeConfig(
    0,
    entries.reduce((all, [config], i) => all | (BigInt(config) << BigInt(8 * i)), 0n),
  );
  return pmp;
}

describe('PMP (priv-isa §3.7.1)', () => {
  const code = pmpOf([R | X | NAPOT, napot(16, 4)], [0, page(32)], [R | W | TOR, page(40)]);

  it.each([
    ['S reads in an entry', 19, 0, MODE.S, true],
    ['S writes without W', 19, 1, MODE.S, false],
    ['S fetches with X', 16, 2, MODE.S, true],
    ['S before the entry', 15, 0, MODE.S, false],
    ['S after the entry', 20, 0, MODE.S, false],
    ['S at the begin of TOR', 32, 1, MODE.S, true],
    ['S at the end of TOR', 40, 1, MODE.S, false],
    ['S fetches without X', 33, 2, MODE.U, false],
    ['M writes without W in an entry that is not locked', 19, 1, MODE.M, true],
    ['M outside of all entries', 100, 1, MODE.M, true],
  ] as const)('%s', (_, number, access, mode, allowed) => {
    expect(code.allows(number, access, mode)).toBe(allowed);
  });

  it('the first entry that matches decides', () => {
    const pmp = pmpOf([NAPOT, napot(16, 1)], [R | W | X | NAPOT, napot(0, 64)]);
    expect([pmp.allows(16, 0, MODE.S), pmp.allows(17, 0, MODE.S)]).toEqual([false, true]);
  });

  it('no entry: nothing is allowed outside M mode', () => {
    expect([new Pmp().allows(0, 0, MODE.S), new Pmp().allows(0, 0, MODE.M)]).toEqual([false, true]);
  });

  it('a locked entry holds for M mode and cannot be written', () => {
    const pmp = pmpOf([R | L | NAPOT, napot(16, 1)]);
    pmp.writeConfig(0, 0n);
    pmp.writeAddress(0, 0n);
    expect([pmp.locked, pmp.allows(16, 1, MODE.M), pmp.readAddress(0)]).toEqual([true, false, napot(16, 1)]);
  });

  it('a locked TOR entry locks the address before it', () => {
    const pmp = pmpOf([0, page(16)], [R | L | TOR, page(20)]);
    pmp.writeAddress(0, 0n);
    expect([pmp.readAddress(0), pmp.allows(17, 1, MODE.M)]).toEqual([page(16), false]);
  });

  it('pages are the granularity: NA4 is refused, low address bits read as the mode says', () => {
    const pmp = pmpOf([NA4 | R, (1n << 54n) - 1n]);
    expect([pmp.readConfig(0), pmp.readAddress(0)]).toEqual([BigInt(R), (1n << 54n) - 1024n]);
    pmp.writeConfig(0, BigInt(NAPOT | R));
    expect(pmp.readAddress(0)).toBe((1n << 54n) - 1n);
  });

  it('W without R is refused', () => {
    expect(pmpOf([W | X | TOR, page(1)]).readConfig(0)).toBe(BigInt(X | TOR));
  });

  it('is kept by a save', () => {
    const other = new Pmp();
    const saved = code.save();
    other.restore(saved.config, saved.address);
    expect([other.save(), other.allows(19, 1, MODE.S), other.allows(19, 0, MODE.S)]).toEqual([saved, false, true]);
  });
});

describe('PMP and the hart', () => {
  const load = encode('ld', { rd: 10, rs1: 11 });
  const pmp = (config: number) => ({
    config: [config, R | W | X | NAPOT, ...Array(14).fill(0)],
    address: [napot(RAM_BASE / 4096 + 4, 1), (1n << 54n) - 1n, ...Array(14).fill(0n)],
  });
  const x = registers({ 11: BigInt(RAM_BASE + 0x4000) });

  it.each([
    ['a load by S', MODE.S, pmp(NAPOT), load, 5n],
    ['a load by S that is allowed', MODE.S, pmp(R | NAPOT), load, undefined],
    ['a store by S', MODE.S, pmp(R | NAPOT), encode('sd', { rs1: 11 }), 7n],
    ['an AMO by S', MODE.S, pmp(R | NAPOT), encode('amoadd.d', { rs1: 11 }), 7n],
    ['a load by M', MODE.M, pmp(NAPOT), load, undefined],
    ['a load by M, locked', MODE.M, pmp(L | NAPOT), load, 5n],
  ])('%s', (_, mode, entries, word, cause) => {
    const fixture = supervisor({ words: [word], x, pmp: entries, privileged: { mode } });
    fixture.step();
    expect(trapOf(fixture)?.cause).toBe(cause);
  });

  it('a fetch by S outside of all entries', () => {
    const none = { config: Array(16).fill(0), address: Array(16).fill(1n) };
    const fixture = supervisor({ words: [load], pmp: none });
    fixture.step();
    expect(trapOf(fixture)).toMatchObject({ cause: 1n, tval: BigInt(RAM_BASE) });
  });

  it('a change holds for the next instruction', () => {
    const words = [load, encode('csrrw', { rs1: 0, csr: 0x3a0 }), load];
    const fixture = supervisor({ words, x, mstatus: 1 << 17, privileged: { mode: MODE.M, mpp: MODE.S } });
    fixture.hart.run(3);
    expect(trapOf(fixture)).toMatchObject({ cause: 5n, epc: BigInt(RAM_BASE + 8) });
  });
});
