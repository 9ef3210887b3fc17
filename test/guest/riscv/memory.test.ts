import { describe, expect, it } from 'vitest';

import { createHart, execute, RAM_BASE, RAM_SIZE } from './fixture.ts';

const DATA = BigInt(RAM_BASE + 0x100);

describe('loads (unpriv-isa §2.6, §4.3)', () => {
  it.each([
    ['00058503  lb a0, 0(a1)', 0xffff_ffff_ffff_ff88n],
    ['0005c503  lbu a0, 0(a1)', 0x88n],
    ['00059503  lh a0, 0(a1)', 0xffff_ffff_ffff_9988n],
    ['0005d503  lhu a0, 0(a1)', 0x9988n],
    ['0005a503  lw a0, 0(a1)', 0xffff_ffff_bbaa_9988n],
    ['0005e503  lwu a0, 0(a1)', 0xbbaa_9988n],
    ['0005b503  ld a0, 0(a1)', 0xffee_ddcc_bbaa_9988n],
    ['00758503  lb a0, 7(a1)', 0xffff_ffff_ffff_ffffn],
    ['00159503  lh a0, 1(a1)', 0xffff_ffff_ffff_aa99n],
    ['0035d503  lhu a0, 3(a1)', 0xccbbn],
    ['0025a503  lw a0, 2(a1)', 0xffff_ffff_ddcc_bbaan],
    ['0035e503  lwu a0, 3(a1)', 0xeedd_ccbbn],
    ['0035b503  ld a0, 3(a1)', 0x2211_00ff_eedd_ccbbn],
    ['80060503  lb a0, -2048(a2)', 0xffff_ffff_ffff_ff88n],
  ])('%s reads %s, also misaligned (Zicclsm)', (instruction, expected) => {
    const fixture = createHart({ program: instruction, registers: { a1: DATA, a2: DATA + 2048n } });
    fixture.ram.setBigUint64(0x100, 0xffee_ddcc_bbaa_9988n, true);
    fixture.ram.setBigUint64(0x108, 0x7766_5544_3322_1100n, true);
    fixture.step();
    expect(fixture.get('a0')).toBe(expected);
  });
});

describe('stores (unpriv-isa §2.6, §4.3)', () => {
  it.each([
    ['00a58023  sb a0, 0(a1)', 0x1111_1111_1111_1188n, 0x1111_1111_1111_1111n],
    ['00a59023  sh a0, 0(a1)', 0x1111_1111_1111_9988n, 0x1111_1111_1111_1111n],
    ['00a5a023  sw a0, 0(a1)', 0x1111_1111_bbaa_9988n, 0x1111_1111_1111_1111n],
    ['00a5b023  sd a0, 0(a1)', 0xffee_ddcc_bbaa_9988n, 0x1111_1111_1111_1111n],
    ['00a583a3  sb a0, 7(a1)', 0x8811_1111_1111_1111n, 0x1111_1111_1111_1111n],
    ['00a593a3  sh a0, 7(a1)', 0x8811_1111_1111_1111n, 0x1111_1111_1111_1199n],
    ['00a5a0a3  sw a0, 1(a1)', 0x1111_11bb_aa99_8811n, 0x1111_1111_1111_1111n],
    ['00a5b2a3  sd a0, 5(a1)', 0xaa99_8811_1111_1111n, 0x1111_11ff_eedd_ccbbn],
  ])('%s leaves %s, %s in memory, also misaligned', (instruction, first, second) => {
    const fixture = createHart({ program: instruction, registers: { a0: 0xffee_ddcc_bbaa_9988n, a1: DATA } });
    fixture.ram.setBigUint64(0x100, 0x1111_1111_1111_1111n, true);
    fixture.ram.setBigUint64(0x108, 0x1111_1111_1111_1111n, true);
    fixture.step();
    expect(fixture.ram.getBigUint64(0x100, true)).toBe(first);
    expect(fixture.ram.getBigUint64(0x108, true)).toBe(second);
  });
});

describe('the edge of RAM', () => {
  const end = BigInt(RAM_BASE + RAM_SIZE);
  const topOfSpace = 2n ** 64n - 8n;

  it.each([
    ['ff85b503  ld a0, -8(a1)', end],
    ['fff58503  lb a0, -1(a1)', end],
    ['ffe5d503  lhu a0, -2(a1)', end],
    ['0005b503  ld a0, 0(a1)', BigInt(RAM_BASE)],
  ])('%s with a1 = %i is inside', (instruction, a1) => {
    const { hart } = execute(instruction, { a1, a0: 1n });
    expect(hart.save().mcause).toBe(0n);
    expect(hart.pc).toBe(RAM_BASE + 4);
  });

  it.each([
    ['0005b503  ld a0, 0(a1)', end, 5n],
    ['ffc5b503  ld a0, -4(a1)', end, 5n],
    ['fff58503  lb a0, -1(a1)', BigInt(RAM_BASE), 5n],
    ['0005b503  ld a0, 0(a1)', 0n, 5n],
    ['0005b503  ld a0, 0(a1)', topOfSpace, 5n],
    ['0005b503  ld a0, 0(a1)', 2n ** 53n + 1n, 5n],
    ['00a5b023  sd a0, 0(a1)', end, 7n],
    ['fea5be23  sd a0, -4(a1)', end, 7n],
    ['00a58023  sb a0, 0(a1)', 2n ** 63n, 7n],
  ])(
    '%s with a1 = %i is an access fault that names the address and leaves a0 (priv-isa §3.7.1)',
    (instruction, a1, cause) => {
      const imm = instruction.includes('-4(') ? -4n : instruction.includes('-1(') ? -1n : 0n;
      const { hart, get } = execute(instruction, { a1, a0: 1n });
      const state = hart.save();
      expect([state.mcause, state.mtval, state.mepc]).toEqual([cause, BigInt.asUintN(64, a1 + imm), BigInt(RAM_BASE)]);
      expect(get('a0')).toBe(1n);
    },
  );

  it('wraps effective addresses at 2^64', () => {
    const seen: number[] = [];
    const load = (gpa: number) => {
      seen.push(gpa);
      return 0x80n;
    };
    const bus = { load, store: () => false };
    const { get } = execute('01058503  lb a0, 16(a1)', { a1: -8n }, { bus });
    expect(seen).toEqual([8]);
    expect(get('a0')).toBe(0xffff_ffff_ffff_ff80n);
  });
});

describe('devices', () => {
  it.each([
    ['00258503  lb a0, 2(a1)', 1, 0xffff_ffff_ffff_fff0n],
    ['0025d503  lhu a0, 2(a1)', 2, 0xdef0n],
    ['0025a503  lw a0, 2(a1)', 4, 0xffff_ffff_9abc_def0n],
    ['0025b503  ld a0, 2(a1)', 8, 0x1234_5678_9abc_def0n],
  ])('%s reaches the bus as one access of %i bytes, misaligned as it is', (instruction, size, expected) => {
    const seen: [number, number][] = [];
    const load = (gpa: number, n: number) => {
      seen.push([gpa, n]);
      return BigInt.asUintN(8 * n, 0x1234_5678_9abc_def0n);
    };
    const bus = { load, store: () => false };
    const { get } = execute(instruction, { a1: 0x1000_0000n }, { bus });
    expect(seen).toEqual([[0x1000_0002, size]]);
    expect(get('a0')).toBe(expected);
  });

  it.each([
    ['00a58123  sb a0, 2(a1)', 1, 0xf0n],
    ['00a59123  sh a0, 2(a1)', 2, 0xdef0n],
    ['00a5a123  sw a0, 2(a1)', 4, 0x9abc_def0n],
    ['00a5b123  sd a0, 2(a1)', 8, 0xfedc_ba98_9abc_def0n],
  ])('%s gives the bus %i bytes, zero extended', (instruction, size, expected) => {
    const seen: [number, number, bigint][] = [];
    const bus = {
      load: () => undefined,
      store: (gpa: number, n: number, value: bigint) => seen.push([gpa, n, value]) > 0,
    };
    execute(instruction, { a0: 0xfedc_ba98_9abc_def0n, a1: 0x1000_0000n }, { bus });
    expect(seen).toEqual([[0x1000_0002, size, expected]]);
  });
});
