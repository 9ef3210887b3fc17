import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { pack, unpack } from '../../../platform/msgpack.ts';
import { fieldsOf, jsonOf, leafText, sameLeaf } from '../../../tools/state/fields.ts';

describe('the fields of a body', () => {
  it('are its values by path, the empty lists and objects, too', () => {
    const body = { a: { b: [1, { c: null }] }, list: [], none: {}, 'msi 0 of 02.0': 5n, bytes: new Uint8Array([1]) };
    expect([...fieldsOf(body)]).toEqual([
      ['a.b[0]', 1],
      ['a.b[1].c', null],
      ['list', []],
      ['none', {}],
      ['["msi 0 of 02.0"]', 5n],
      ['bytes', new Uint8Array([1])],
    ]);
  });
});

describe('a value', () => {
  it.each([
    [5, '5'],
    [-1, '-1'],
    [0.5, '0.5'],
    [0x10000, '65536 (0x10000)'],
    [5n, '0x5'],
    [-1n, '0xffffffffffffffff'],
    ['a "b"', '"a \\"b\\""'],
    [null, 'null'],
    [undefined, 'undefined'],
    [true, 'true'],
    [[], '[]'],
    [{}, '{}'],
    [new Uint8Array(), '0 bytes'],
    [new Uint8Array([0, 255]), '2 bytes 00ff'],
    [new Uint8Array(40), `40 bytes ${'00'.repeat(32)}…`],
  ])('%o is shown as %s', (value, text) => {
    expect(leafText(value)).toBe(text);
  });

  it('is told in JSON with hexadecimal digits for bigints and bytes', () => {
    expect(jsonOf({ a: [5n, new Uint8Array([1, 255])], b: null, c: 'x' })).toEqual({
      a: ['0x5', '01ff'],
      b: null,
      c: 'x',
    });
  });

  it('is the same as another one as far as MessagePack can tell', () => {
    expect(sameLeaf(5, 5n)).toBe(true);
    expect(sameLeaf(5n, 6)).toBe(false);
    expect(sameLeaf(0.5, 0n)).toBe(false);
    expect(sameLeaf('01ff', new Uint8Array([1, 255]))).toBe(false);
    expect(sameLeaf(new Uint8Array([1, 255]), Buffer.from([1, 255]))).toBe(true);
    expect(sameLeaf('0x5', 5n)).toBe(false);
    expect(sameLeaf([], {})).toBe(false);
    expect(sameLeaf(null, undefined)).toBe(false);
  });
});

/** Anything that a body may be. */
const { body } = fc.letrec((tie) => ({
  body: fc.oneof(
    { depthSize: 'small' },
    fc.integer(),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
    fc.string(),
    fc.boolean(),
    fc.constant(null),
    fc.uint8Array({ maxLength: 40 }),
    fc.array(tie('body'), { maxLength: 4 }),
    fc.dictionary(fc.string(), tie('body'), { maxKeys: 4, noNullPrototype: true }),
  ),
}));

it('any body can be shown, and is the same after it was packed', () => {
  fc.assert(
    fc.property(body, (value) => {
      const again = fieldsOf(unpack(pack(value)));
      const fields = fieldsOf(value);
      expect([...again.keys()]).toEqual([...fields.keys()]);
      for (const [path, leaf] of fields) {
        expect(sameLeaf(leaf, again.get(path)), path).toBe(true);
        expect(leafText(leaf)).not.toBe('');
      }
      JSON.stringify(jsonOf(value));
    }),
  );
});
