import { describe, expect, it } from 'vitest';

import { type AccessRules, type Registers, readRegisters, writeRegisters } from '../../../devices/kit/bar-access.ts';

/** Registers that say what reached them; a read gives its own offset in each byte. */
class Spy implements Registers {
  readonly seen: string[] = [];

  read(offset: number, size: number) {
    this.seen.push(`r${size}@${offset}`);
    return { lo: (offset * 0x01010101) >>> 0, hi: ((offset + 4) * 0x01010101) >>> 0 };
  }

  write(offset: number, size: number, lo: number, hi: number): void {
    this.seen.push(`w${size}@${offset}=${hi.toString(16)}:${lo.toString(16)}`);
  }
}

const SPLIT: AccessRules = { min: 4, max: 8, odd: 'split', small: 'refuse' };
const NARROW: AccessRules = { min: 1, max: 4, odd: 'split', small: 'refuse' };
const STRICT: AccessRules = { min: 4, max: 4, odd: 'refuse', small: 'refuse' };
const WIDE: AccessRules = { min: 4, max: 4, odd: 'split', small: 'widen' };

describe('what reaches the registers', () => {
  it.each([
    ['aligned 4', SPLIT, 4, 4, ['r4@4']],
    ['aligned 8', SPLIT, 8, 8, ['r8@8']],
    ['8 bytes at 4: two accesses (docs/machine.md, "edu: accesses")', SPLIT, 4, 8, ['r4@4', 'r4@8']],
    ['2 bytes: refused', SPLIT, 4, 2, []],
    ['4 bytes at 2: pieces of 2, refused', SPLIT, 2, 4, []],
    ['8 bytes where 4 is the most', NARROW, 8, 8, ['r4@8', 'r4@12']],
    ['4 bytes at 1: single bytes', NARROW, 1, 4, ['r1@1', 'r1@2', 'r1@3', 'r1@4']],
    ['strict: aligned 4', STRICT, 8, 4, ['r4@8']],
    ['strict: 8 bytes', STRICT, 8, 8, []],
    ['strict: misaligned', STRICT, 6, 4, []],
    ['1 byte, widened', WIDE, 5, 1, ['r4@5']],
    ['2 bytes at 2, widened', WIDE, 2, 2, ['r4@2']],
    ['4 bytes at 2: two pieces, each widened', WIDE, 2, 4, ['r4@2', 'r4@4']],
  ] as const)('%s', (_what, rules, offset, size, expected) => {
    const spy = new Spy();

    readRegisters(spy, rules, offset, size);

    expect(spy.seen).toEqual(expected);
  });

  it('pieces of a read come together little endian', () => {
    expect(readRegisters(new Spy(), SPLIT, 4, 8)).toEqual({ lo: 0x04040404, hi: 0x08080808 });
    expect(readRegisters(new Spy(), NARROW, 1, 4)).toEqual({ lo: 0x04030201, hi: 0 });
  });

  it('a widened read keeps its own bytes, a widened write has zeros above them', () => {
    const spy = new Spy();

    const read = readRegisters(spy, WIDE, 2, 2);
    writeRegisters(spy, WIDE, 4, 1, { lo: 0xab, hi: 0 });

    expect(read).toEqual({ lo: 0x0202, hi: 0 });
    expect(spy.seen).toEqual(['r4@2', 'w4@4=0:ab']);
  });

  it('refused reads give 0', () => {
    expect(readRegisters(new Spy(), SPLIT, 1, 1)).toEqual({ lo: 0, hi: 0 });
  });

  it('a split write carries each half to its register, in order', () => {
    const spy = new Spy();

    writeRegisters(spy, SPLIT, 4, 8, { lo: 0x22222222, hi: 5 });
    writeRegisters(spy, SPLIT, 8, 8, { lo: 1, hi: 2 });
    writeRegisters(spy, SPLIT, 6, 2, { lo: 1, hi: 0 });

    expect(spy.seen).toEqual(['w4@4=0:22222222', 'w4@8=0:5', 'w8@8=2:1']);
  });
});
