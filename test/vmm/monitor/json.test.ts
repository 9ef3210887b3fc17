import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { type ClientJson, JsonNumber, parseJson } from '../../../vmm/monitor/json.ts';
import { QmpError } from '../../../vmm/monitor/qmp-error.ts';

const parse = (text: string): ClientJson => parseJson(Buffer.from(text));

/** As JSON.parse gives it. */
function plain(value: ClientJson): unknown {
  if (value instanceof JsonNumber) return Number(value.text);
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, member]) => [key, plain(member)]));
  return Array.isArray(value) ? value.map(plain) : value;
}

describe('JSON of a monitor client', () => {
  it('is read as JSON.parse reads it', () => {
    const anyJson = fc.jsonValue().map((value) => JSON.stringify(value));
    fc.assert(
      fc.property(anyJson, (text) => {
        expect(JSON.stringify(plain(parse(text)))).toBe(JSON.stringify(JSON.parse(text)));
      }),
    );
  });

  it('of any bytes gives a value or a QmpError, never anything else', () => {
    const pieces = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      '"',
      "'",
      ':',
      ',',
      '\\',
      'u',
      'd800',
      '-',
      '1',
      'e',
      '.',
      'true',
      ' ',
      '\xff',
    );
    const texts = fc.array(pieces, { maxLength: 30 }).map((parts) => Buffer.from(parts.join(''), 'latin1'));
    fc.assert(
      fc.property(texts, (bytes) => {
        try {
          parseJson(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(QmpError);
        }
      }),
    );
  });

  it('may nest as deep as there are bytes', () => {
    const depth = 100_000;
    expect(Array.isArray(parse('['.repeat(depth) + ']'.repeat(depth)))).toBe(true);
  });

  it('has strings in single quotes, too, as QEMU does', () => {
    expect(plain(parse(`{'a': 'it\\'s', "b": "\\'"}`))).toEqual({ a: "it's", b: "'" });
  });

  it.each([
    ['{"a": 1, "a": 2}', 'duplicate key'],
    ['{"a" 1}', 'missing : in object pair'],
    ['{1: 2}', 'key is not a string in object'],
    ['{"a": 1 "b"', 'expected separator in dict'],
    ['[1 2]', 'expected separator in list'],
    ['[1, ]', "stray ']'"],
    ['[01]', "stray '0'"],
    ['[+1]', "stray '+'"],
    ['nil', "invalid keyword 'nil'"],
    ['{"a": ', 'premature EOI'],
    ['"\\ud800"', '\\ud800 is not a valid Unicode character'],
    ['"\\udc00\\ud800"', '\\udc00 is not a valid Unicode character'],
    ['"\\x"', "invalid escape sequence '\\x' in string"],
    ['"\\u12g4"', "invalid hex escape '\\u12g4' in string"],
    ['"a\nb"', 'stray control character in string'],
  ])('%s is an error', (text, reason) => {
    expect(() => parse(text)).toThrow(new QmpError(`JSON parse error, ${reason}`));
  });

  it('that is no UTF-8 is an error', () => {
    expect(() => parseJson(Uint8Array.of(0x22, 0xff, 0x22))).toThrow('invalid UTF-8 sequence in string');
  });
});
