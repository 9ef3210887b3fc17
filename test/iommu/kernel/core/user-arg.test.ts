import { describe, expect, it } from 'vitest';

import { UserArg } from '../../../../iommu/kernel/core/user-arg.ts';
import { defineStruct, u16 } from '../../../../platform/struct.ts';

const Pair = defineStruct('pair', { a: u16, b: u16 });
const cString = (text: string): UserArg => new UserArg(new Uint8Array(Buffer.from(text, 'latin1')));
const code = (run: () => unknown): unknown => {
  try {
    return run();
  } catch (error) {
    return (error as { code: string }).code;
  }
};

describe('ioctl argument', () => {
  it('is a full unsigned long by value (CORE-3)', () => {
    expect([new UserArg(3).value, new UserArg(0x1_0000_0001n).value, new UserArg(-1).value]).toEqual([
      3n,
      0x1_0000_0001n,
      0xffff_ffff_ffff_ffffn,
    ]);
  });

  it('as a pointer has no value, and means no number that an extension or a type has', () => {
    const pointer = new UserArg(new Uint8Array(4));

    expect([pointer.value, pointer.number, new UserArg(3).number]).toEqual([undefined, -1, 3]);
  });

  it.each([
    [0, 'EFAULT'],
    [7, 'EFAULT'],
    [8, 8],
    [64, 8],
  ])('gives a struct of 8 bytes when %i are readable: %s', (readable, expected) => {
    expect(code(() => new UserArg(new Uint8Array(readable)).copyIn(8).byteLength)).toBe(expected);
  });

  it.each([
    [0, 2, 'EFAULT'],
    [5, 2, 'EFAULT'],
    [6, 2, { a: 3, b: 4 }],
    [6, 3, 'EFAULT'],
  ])('reads a struct of 4 bytes when %i are readable, at %i: %j', (readable, offset, expected) => {
    const arg = new UserArg(new Uint8Array([9, 1, 3, 0, 4, 0]).subarray(0, readable));

    expect(code(() => arg.read(Pair, offset))).toEqual(expected);
  });

  it('reads and copies from where the bytes lie in a larger buffer', () => {
    const arg = new UserArg(new Uint8Array([9, 9, 3, 0, 4, 0, 9]).subarray(2, 6));

    expect([arg.read(Pair), arg.copyIn(2, 2).getUint16(0, true)]).toEqual([{ a: 3, b: 4 }, 4]);
  });

  it('gives back a struct whose field was changed, with its other fields and what lies before it', () => {
    const arg = new UserArg(new Uint8Array([7, 3, 0, 4, 0, 5]));

    arg.update(Pair, { b: 6 }, 1);

    expect(arg.output()).toEqual(new Uint8Array([7, 3, 0, 6, 0]));
  });

  it('gives back what was filled in place when that is told, and not before', () => {
    const arg = new UserArg(new Uint8Array(4));

    arg.room(1, 2)!.set([5, 6]);
    const before = arg.output();
    arg.wrote(1, 2);

    expect([before, arg.output()]).toEqual([undefined, new Uint8Array([0, 5, 6])]);
  });

  it('has no room beyond the caller’s bytes, and none in a value', () => {
    expect([new UserArg(new Uint8Array(4)).room(2, 3), new UserArg(1).room(0, 0)]).toEqual([undefined, undefined]);
  });

  it('faults on a pointer to nothing', () => {
    expect(code(() => new UserArg(0).read(Pair))).toBe('EFAULT');
    expect(code(() => new UserArg(0).copyIn(1))).toBe('EFAULT');
    expect(code(() => new UserArg(0xdead_0000).copyOut(0, new Uint8Array(1)))).toBe('EFAULT');
  });

  it('copies in once: a later copy_to_user does not show in what was read', () => {
    const arg = new UserArg(new Uint8Array([1, 2]));
    const view = arg.copyIn(2);

    arg.copyOut(0, new Uint8Array([9]));

    expect(view.getUint8(0)).toBe(1);
  });

  it('gives back the bytes from its start to the last one written, with the caller’s own in the gaps', () => {
    const arg = new UserArg(new Uint8Array([0xee, 0xee, 0xee, 0xee]));

    arg.copyOut(2, new Uint8Array([7]));

    expect(arg.output()).toEqual(new Uint8Array([0xee, 0xee, 7]));
  });

  it('gives back nothing when nothing was written', () => {
    expect(new UserArg(new Uint8Array(4)).output()).toBeUndefined();
  });

  it('writes what fits before it faults, as copy_to_user does', () => {
    const arg = new UserArg(new Uint8Array(3));

    expect(code(() => arg.copyOut(1, new Uint8Array([5, 6, 7])))).toBe('EFAULT');
    expect(arg.output()).toEqual(new Uint8Array([0, 5, 6]));
  });

  it.each([
    ['edu\0rest', 'edu'],
    ['\0', ''],
    ['edu', 'EFAULT'],
    ['12345678\0', 'EINVAL'],
    ['1234567\0', '1234567'],
  ])('reads the C string %j (at most 8 bytes) as %s', (text, expected) => {
    expect(code(() => cString(text).copyInString(8))).toBe(expected);
  });
});
