import { describe, expect, it } from 'vitest';

import { createHart, execute, RAM_BASE } from './fixture.ts';

describe('branches (unpriv-isa §2.5.2)', () => {
  it.each([
    ['00c58863  beq a1, a2, .+16', 5n, 5n, 16],
    ['00c58863  beq a1, a2, .+16', 5n, 6n, 4],
    ['7ec59fe3  bne a1, a2, .+4094', 0n, 2n ** 63n, 4094],
    ['80c59063  bne a1, a2, .-4096', 0n, 0n, 4],
    ['80c59063  bne a1, a2, .-4096', 0n, 1n, -4096],
    ['00c5c863  blt a1, a2, .+16', -1n, 0n, 16],
    ['00c5c863  blt a1, a2, .+16', 0n, 0n, 4],
    ['00c5d863  bge a1, a2, .+16', 0n, -1n, 16],
    ['00c5d863  bge a1, a2, .+16', -1n, 0n, 4],
    ['00c5e863  bltu a1, a2, .+16', 0n, -1n, 16],
    ['00c5e863  bltu a1, a2, .+16', -1n, 0n, 4],
    ['00c5f863  bgeu a1, a2, .+16', -1n, 0n, 16],
    ['00c5f863  bgeu a1, a2, .+16', 0n, -1n, 4],
  ])('%s with a1 = %d, a2 = %d goes on at %d', (instruction, a1, a2, offset) => {
    const { hart } = execute(instruction, { a1, a2 });
    expect(hart.pc - RAM_BASE).toBe(offset);
  });
});

describe('jumps (unpriv-isa §2.5.1)', () => {
  it.each([
    ['001000ef  jal ra, .+2048', 2048],
    ['fffff0ef  jal ra, .-2', -2],
    ['7ffff0ef  jal ra, .+0xffffe', 0xffffe],
    ['800000ef  jal ra, .-0x100000', -0x100000],
  ])('%s links the next instruction', (instruction, offset) => {
    const { hart, get } = execute(instruction, {});
    expect(hart.pc - RAM_BASE).toBe(offset);
    expect(get('ra')).toBe(BigInt(RAM_BASE + 4));
  });

  it('links after two bytes for a compressed jump', () => {
    const { hart, get } = execute('9582  c.jalr a1', { a1: 0x8000_0100n });
    expect(hart.pc).toBe(0x8000_0100);
    expect(get('ra')).toBe(BigInt(RAM_BASE + 2));
  });

  it('clears the low bit of the target of JALR', () => {
    const { hart } = execute('003580e7  jalr ra, 3(a1)', { a1: 0x8000_0100n });
    expect(hart.pc).toBe(0x8000_0102);
  });

  it('reads rs1 of JALR before it writes rd', () => {
    const { hart, get } = execute('000080e7  jalr ra, 0(ra)', { ra: 0x8000_0200n });
    expect(hart.pc).toBe(0x8000_0200);
    expect(get('ra')).toBe(0x8000_0004n);
  });

  it('wraps the target of JALR at 2^64', () => {
    const { hart } = execute('7d058067  jalr zero, 2000(a1)', { a1: -1000n });
    expect(hart.pc).toBe(1000);
  });
});

describe('fetch', () => {
  it('executes 32-bit instructions at addresses that are a multiple of 2 only (C: IALIGN = 16)', () => {
    const { get, step } = createHart({ program: '0001  c.nop\n00700513  addi a0, zero, 7' });
    step();
    step();
    expect(get('a0')).toBe(7n);
  });

  it('executes what was stored a moment before, with FENCE.I between (Zifencei)', () => {
    const { get, hart } = createHart({
      program: `
        00b62423  sw a1, 8(a2)
        0000100f  fence.i
        00100513  addi a0, zero, 1
      `,
      registers: { a1: 0x0020_0513n /* addi a0, zero, 2 */, a2: BigInt(RAM_BASE) },
    });
    hart.run(3);
    expect(get('a0')).toBe(2n);
  });

  it('executes from a device that can be read, as from a boot ROM', () => {
    const rom = [0x13, 0x05, 0x70, 0x00]; // addi a0, zero, 7
    const { get, hart, step } = createHart({
      bus: {
        load: (gpa, size) =>
          gpa === 0x1000 && size === 2 ? 0x0513n : gpa === 0x1002 ? BigInt(rom[2]! | (rom[3]! << 8)) : undefined,
        store: () => false,
      },
    });
    hart.reset(0x1000, 0n, 0n);
    step();
    expect(get('a0')).toBe(7n);
    expect(hart.pc).toBe(0x1004);
  });
});
