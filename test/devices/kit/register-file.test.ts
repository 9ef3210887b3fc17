import { describe, expect, it } from 'vitest';

import { RegisterFile } from '../../../devices/kit/register-file.ts';
import { defineRegisters } from '../../../devices/kit/registers.ts';

const MAP = defineRegisters('ones', {
  ID: { at: 0x00, access: 'ro', reset: 0x1234, what: 'constant' },
  WORD: { at: 0x04, access: 'rw', reset: 7, what: 'kept' },
  EVENTS: { at: 0x08, access: 'w1c', reset: 0xff, what: 'cleared by ones' },
  SECRET: { at: 0x0c, access: 'wo', what: 'never read' },
  WIDE: { at: 0x10, width: 8, access: 'rw', reset: 0, locked: 'while locked', what: 'kept' },
  ROW: { at: 0x20, width: 1, count: 3, access: 'rw', computed: true, reset: 0, what: 'bytes in a row' },
});
const ABSENT = { lo: 0xffff_ffff, hi: 0xffff_ffff };

function newFile() {
  const calls: string[] = [];
  const state = { locked: false };
  const file = new RegisterFile(MAP, {
    locked: () => state.locked,
    read: { ROW: (index) => 0x40 + index },
    write: {
      EVENTS: (ones) => {
        file.values.EVENTS &= ~ones;
      },
      SECRET: (value) => calls.push(`SECRET ${value}`),
      ROW: (value, index) => calls.push(`ROW[${index}] ${value}`),
    },
  });
  return { file, calls, state };
}

describe('a register file', () => {
  it('holds the declared values at power-on and after reset', () => {
    const { file } = newFile();
    expect(file.read(0x00, 4)).toEqual({ lo: 0x1234, hi: 0 });
    file.write(0x04, 4, 99, 0);
    file.write(0x10, 8, 1, 2);
    file.reset();
    expect(file.values).toMatchObject({ ID: 0x1234, WORD: 7, EVENTS: 0xff, WIDE: 0n });
  });

  it('stores what software may write, and shows it to the device by name', () => {
    const { file } = newFile();
    file.write(0x04, 4, 0xffff_fffe, 0);
    file.values.WORD += 3;
    expect(file.values.WORD).toBe(1);
    expect(file.read(0x04, 4)).toEqual({ lo: 1, hi: 0 });
  });

  it('does not store into a read-only register', () => {
    const { file } = newFile();
    file.write(0x00, 4, 1, 0);
    expect(file.values.ID).toBe(0x1234);
  });

  it('leaves a write with a hook to the hook', () => {
    const { file, calls } = newFile();
    file.write(0x08, 4, 0x0f, 0);
    file.write(0x0c, 4, 5, 0);
    expect(file.values.EVENTS).toBe(0xf0);
    expect(calls).toEqual(['SECRET 5']);
  });

  it('hands a hook the index in a row, and reads by hook', () => {
    const { file, calls } = newFile();
    file.write(0x22, 1, 9, 0);
    expect(file.read(0x21, 1)).toEqual({ lo: 0x41, hi: 0 });
    expect(calls).toEqual(['ROW[2] 9']);
  });

  it('replaces all of a wide register by a short write, and reads its low half by a short read', () => {
    const { file } = newFile();
    file.write(0x10, 8, 1, 2);
    expect(file.values.WIDE).toBe(0x2_0000_0001n);
    expect(file.read(0x10, 4)).toEqual({ lo: 1, hi: 0 });
    file.write(0x10, 4, 3, 0xdead);
    expect(file.read(0x10, 8)).toEqual({ lo: 3, hi: 0 });
  });

  it('ignores writes to locked registers, and to no others, while the device says so', () => {
    const { file, state } = newFile();
    state.locked = true;
    file.write(0x10, 8, 1, 0);
    file.write(0x04, 4, 8, 0);
    expect(file.values).toMatchObject({ WIDE: 0n, WORD: 8 });
    state.locked = false;
    file.write(0x10, 8, 1, 0);
    expect(file.values.WIDE).toBe(1n);
  });

  it.each([
    ['a write-only register', 0x0c, 4],
    ['an access wider than the register', 0x00, 8],
    ['the middle of a register', 0x14, 4],
    ['a hole', 0x18, 4],
    ['what is behind the last one', 0x23, 1],
    ['the far end of a large BAR', 0xffffc, 4],
  ])('reads ones at %s', (_, offset, size) => {
    expect(newFile().file.read(offset, size)).toEqual(ABSENT);
  });

  it('drops a write that is wider than the register', () => {
    const { file, calls } = newFile();
    file.write(0x04, 8, 1, 1);
    file.write(0x0c, 8, 1, 1);
    expect(file.values.WORD).toBe(7);
    expect(calls).toEqual([]);
  });

  it('is not made of registers that overlap', () => {
    const overlapping = () =>
      defineRegisters('zeros', {
        B: { at: 4, access: 'rw', reset: 0, what: '' },
        A: { at: 0, width: 1, count: 5, access: 'wo', what: '' },
      });
    expect(overlapping).toThrow('register B overlaps the one before it');
  });
});
