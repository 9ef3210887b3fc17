import { describe, expect, it } from 'vitest';

import { atomic32, atomic32s, bytes, defineShared, word64 } from '../../platform/shared.ts';

describe('defineShared', () => {
  it('gives each field its byte offset and its index in each kind of array', () => {
    const layout = defineShared('example', {
      producer: atomic32,
      pad0: bytes(60),
      consumer: atomic32,
      flags: atomic32s(3),
      total: word64,
    });

    expect(layout.offset).toEqual({ producer: 0, pad0: 4, consumer: 64, flags: 68, total: 80 });
    expect([layout.word.consumer, layout.word.flags, layout.word64.total]).toEqual([16, 17, 10]);
  });

  it('is whole cache lines long', () => {
    expect(defineShared('small', { a: atomic32 }).size).toBe(64);
    expect(defineShared('large', { a: bytes(65) }).size).toBe(128);
  });

  it('refuses a field off its alignment, by name', () => {
    expect(() => defineShared('bad', { a: atomic32, b: word64 })).toThrow('bad.b');
    expect(() => defineShared('bad', { a: bytes(2), b: atomic32 })).toThrow('bad.b');
  });
});
