import { describe, expect, it } from 'vitest';

import { evaluate, formatBytes, fromHex, toHex } from '../../../tools/conform/notation.ts';

describe('evaluate', () => {
  const symbol = (name: string): number | undefined => (name === 'RAM' ? 0x1000 : undefined);

  it.each([
    ['0x10', 0x10n],
    ['-1', 0xffff_ffff_ffff_ffffn],
    ['$RAM+0x1000', 0x2000n],
    ['$RAM+0xfffffffffffff000', 0n],
    ['0xffffffffffffffff+1', 0n],
  ])('%s is %s', (expression, value) => {
    expect(evaluate(expression, symbol)).toBe(value);
  });

  it('refuses a name that is not defined', () => {
    expect(() => evaluate('$HOLE', symbol)).toThrow('$HOLE is not defined');
  });
});

describe('formatBytes', () => {
  it.each([
    [new Uint8Array(0), ''],
    [new Uint8Array(24).fill(0x41), '41'.repeat(24)],
    [new Uint8Array(25).fill(0x41), '41*25'],
    [Uint8Array.from({ length: 26 }, (_, i) => (i < 24 ? 0 : i)), '00*24.18.19'],
  ])('%#: %s', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });
});

it('toHex and fromHex are inverse', () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  expect(fromHex(toHex(bytes))).toEqual(bytes);
});
