import { describe, expect, it } from 'vitest';

import { defineSection } from '../../platform/section.ts';
import {
  big,
  bytes,
  flag,
  integer,
  list,
  nullable,
  number,
  object,
  oneOf,
  record,
  text,
} from '../../platform/shape.ts';

const timer = object({ mtime: big, on: flag }, { name: text });

describe('a shape', () => {
  it.each([
    ['text', text, 'a'],
    ['number', number, 0.5],
    ['integer', integer, -(2 ** 53) + 1],
    ['bytes', bytes, new Uint8Array([1])],
    ['list', list(integer, 2), [1, 2]],
    ['record', record(flag), { a: true, b: false }],
    ['null', nullable(text), null],
    ['one of', oneOf<string | number>('a', 2), 2],
    ['object', timer, { mtime: 2n ** 63n, on: true }],
    ['object with what may be absent', timer, { mtime: 1n, on: false, name: 'clint' }],
  ])('gives back what it accepts: %s', (_, shape, value) => {
    expect(shape(value, 'it')).toEqual(value);
  });

  it('takes a number for the bigint that MessagePack made it of', () => {
    expect(big(5, 'it')).toBe(5n);
  });

  it.each([
    [text, 1, 'it: no text'],
    [number, Number.NaN, 'it: no number'],
    [integer, 2 ** 53, 'it: no integer'],
    [integer, 0.5, 'it: no integer'],
    [big, 0.5, 'it: no bigint'],
    [bytes, [1], 'it: no bytes'],
    [list(integer), { 0: 1 }, 'it: no list'],
    [list(integer), [1, '2'], 'it[1]: no integer'],
    [list(integer, 2), [1], 'it: 1 values, not 2'],
    [record(flag), [true], 'it: no object'],
    [record(flag), { a: 1 }, 'it.a: no boolean'],
    [nullable(text), undefined, 'it: no text'],
    [oneOf('a', 'b'), 'c', 'it: none of a, b'],
    [timer, null, 'it: no object'],
    [timer, new Uint8Array(1), 'it: no object'],
    [timer, { mtime: 1n }, 'it: on is missing'],
    [timer, { mtime: 1n, on: 1 }, 'it.on: no boolean'],
    [timer, { mtime: 1n, on: true, off: false }, 'it: off is not known'],
    [object({ timers: list(timer) }), { timers: [{ mtime: 1n, on: 0 }] }, 'it.timers[0].on: no boolean'],
  ])('says what is wrong, and where: %#', (shape, value, error) => {
    expect(() => (shape as (value: unknown, at: string) => unknown)(value, 'it')).toThrow(error);
  });
});

describe('a section', () => {
  const section = defineSection('clint', 2, { mtime: big }, { msip: flag });

  it('gives its bodies their version, and takes them back', () => {
    const body = section.of({ mtime: 7n });
    expect(body).toEqual({ version: 2, mtime: 7n });
    expect(section.decode(body)).toEqual(body);
  });

  it('names itself in what it refuses', () => {
    expect(() => section.decode({ version: 1 })).toThrow('section clint: version 1, this build knows 2');
    const withoutTime = { version: 2 };
    expect(() => section.decode(withoutTime)).toThrow('section clint: clint: mtime is missing');
  });
});
