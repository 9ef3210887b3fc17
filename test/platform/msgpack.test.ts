import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { describe, expect, it } from 'vitest';

import { pack } from '../../platform/msgpack/pack.ts';
import { unpack } from '../../platform/msgpack/unpack.ts';

/** Against msgpackr, which other programs may speak with us. */
const other = new Packr({ useRecords: false, mapsAsObjects: true, variableMapSize: true });

const text = fc.oneof(fc.string({ unit: 'binary', maxLength: 80 }), fc.string({ maxLength: 300 }));
const name = text.filter((key) => key !== '__proto__' && key !== '__proto_');
const number = fc.oneof(fc.integer(), fc.double(), fc.maxSafeInteger()).map((value) => (value === 0 ? 0 : value)); // no −0
const bigint = fc.oneof(fc.bigInt({ min: -(2n ** 63n), max: -1n }), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }));
const bytes = fc.uint8Array({ maxLength: 300 });
const { value } = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    text,
    number,
    bigint,
    fc.boolean(),
    fc.constant(null),
    bytes,
    fc.array(tie('value'), { maxLength: 20 }),
    fc.dictionary(name, tie('value'), { maxKeys: 20 }),
  ),
}));

/** Buffers are bytes, objects have no prototype to compare. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return new Uint8Array(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.entries(value).map(([key, member]) => [key, plain(member)]);
}

describe('messages', () => {
  it('come back as what they were', () => {
    fc.assert(
      fc.property(value, (sent) => {
        expect(plain(unpack(pack(sent)))).toEqual(plain(sent));
      }),
    );
  });

  it('are read by others', () => {
    fc.assert(
      fc.property(value, (sent) => {
        expect(plain(other.unpack(pack(sent)))).toEqual(plain(sent));
      }),
    );
  });

  it('of others are read', () => {
    fc.assert(
      fc.property(value, (sent) => {
        expect(plain(unpack(other.pack(sent)))).toEqual(plain(sent));
      }),
    );
  });

  it.each([0x0f, 0x10, 0xff, 0x100, 0xffff, 0x1_0000])('hold %i items, members, bytes and letters', (count) => {
    const items = Array.from({ length: count }, (_, i) => i);
    const members = Object.fromEntries(items.map((i) => [`m${i}`, i]));
    const sent = { items, members, bytes: new Uint8Array(count).fill(7), text: 'x'.repeat(count) };
    expect(isDeepStrictEqual(unpack(pack(sent)), sent)).toBe(true);
    expect(other.pack(sent).equals(pack(sent))).toBe(true);
  });

  it('leave out members that are undefined, and room for a header', () => {
    expect(pack({ a: undefined, b: 1 }, 4)).toEqual(Uint8Array.of(0, 0, 0, 0, 0x81, 0xa1, 0x62, 1));
  });

  it('hold data only', () => {
    expect(() => pack({ f: () => 0 })).toThrow(TypeError);
  });
});

describe('bytes that are no message', () => {
  it.each([
    { what: 'nothing', packed: [] },
    { what: 'a type that is never used', packed: [0xc1] },
    { what: 'an extension', packed: [0xd4, 0, 0] },
    { what: 'two values', packed: [1, 2] },
    { what: 'an array without its items', packed: [0xdd, 0xff, 0xff, 0xff, 0xff] },
    { what: 'a number as a name', packed: [0x81, 1, 1] },
    { what: 'the name of a prototype', packed: [0x81, 0xa9, ...Buffer.from('__proto__'), 0x80] },
    { what: 'an abyss', packed: new Array<number>(1000).fill(0x91) },
  ])('are refused: $what', ({ packed }) => {
    expect(() => unpack(Uint8Array.from(packed))).toThrow(RangeError);
  });

  it('throw nothing but a RangeError', () => {
    const almost = fc.tuple(value, fc.nat(), fc.nat(255)).map(([sent, at, byte]) => {
      const packed = pack(sent);
      packed[at % packed.length] = byte;
      return packed;
    });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), almost), (packed) => {
        try {
          unpack(packed);
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
      }),
      { numRuns: 1000 },
    );
  });
});
