import { describe, expect, it } from 'vitest';

import { JsonInput } from '../../../vmm/monitor/json-input.ts';

function takeAll(input: JsonInput): unknown[] {
  const values: unknown[] = [];
  for (let value = input.take(); value; value = input.take())
    values.push('bytes' in value ? Buffer.from(value.bytes).toString() : value);
  return values;
}

const cut = (text: string): unknown[] => {
  const input = new JsonInput();
  input.push(Buffer.from(text));
  return takeAll(input);
};

describe('JSON input of the monitor', () => {
  it.each([
    { text: '{"a":1}{"b":2}\r\n', values: ['{"a":1}', '{"b":2}'] },
    { text: '  {"a":\n {"b": [1, "}"]}}\n', values: ['{"a":\n {"b": [1, "}"]}}'] },
    { text: '{"quote": "\\"}"} ', values: ['{"quote": "\\"}"}'] },
    { text: 'garbage {"a":1}', values: ['garbage', '{"a":1}'] },
    { text: 'garbage{"a":1}', values: ['garbage', '{"a":1}'] },
    { text: '"text"5 ', values: ['"text"', '5'] },
    { text: '}{}', values: ['}', '{}'] },
    { text: '{"a":', values: [] },
    { text: ' \r\n\t', values: [] },
  ])('cuts $text', ({ text, values }) => {
    expect(cut(text)).toEqual(values);
  });

  it('cuts the same however the bytes arrive, multi-byte characters and escapes included', () => {
    const text = '{"a": "ä\\"€"}\n["\\\\"] x {"b": {}}\n';
    const input = new JsonInput();
    const values: unknown[] = [];
    for (const byte of Buffer.from(text)) {
      input.push(Uint8Array.of(byte));
      values.push(...takeAll(input));
    }
    expect(values).toEqual(cut(text));
    expect(values).toHaveLength(4);
  });

  it('hands what is not taken yet to the one after it', () => {
    const input = new JsonInput();
    input.push(Buffer.from('{"a":1}{"b"'));
    const heir = new JsonInput(input.pending);
    heir.push(Buffer.from(':2}'));
    expect(takeAll(heir)).toEqual(['{"a":1}', '{"b":2}']);
  });

  it('hands the beginning of a value to the one after it, also when it has looked at it', () => {
    const input = new JsonInput();
    input.push(Buffer.from('{"a":1}{"b": ["]'));
    expect(takeAll(input)).toEqual(['{"a":1}']);
    const heir = new JsonInput(input.pending);
    heir.push(Buffer.from('"]}'));
    expect(takeAll(heir)).toEqual(['{"b": ["]"]}']);
  });

  it('drops a value that never ends, and is well afterwards', () => {
    const input = new JsonInput();
    input.push(Buffer.from(`{"a": "${'x'.repeat(2 ** 20)}`));
    expect(takeAll(input)).toEqual([{ error: 'JSON token size limit exceeded' }]);
    input.push(Buffer.from('{"b":2}'));
    expect(takeAll(input)).toEqual(['{"b":2}']);
  });

  it('takes 1 024 lists in lists, as QEMU does', () => {
    const text = '['.repeat(1024) + ']'.repeat(1024);
    expect(cut(text)).toEqual([text]);
  });

  it('drops what nests deeper, up to the bracket that is too many, as QEMU does', () => {
    expect(cut(`${'['.repeat(1025)}{"b":2}`)).toEqual([{ error: 'JSON nesting depth limit exceeded' }, '{"b":2}']);
  });

  it('cuts strings in single quotes, with the other quote and brackets in them', () => {
    expect(cut(`{'a': "it's {", 'b': '"['} 'x"' `)).toEqual([`{'a': "it's {", 'b': '"['}`, `'x"'`]);
  });

  it('looks at each byte of a value once, however it arrives', () => {
    const input = new JsonInput();
    const text = `{"a": "${'x'.repeat(2 ** 19)}"}`;
    for (const byte of Buffer.from(text)) {
      input.push(Uint8Array.of(byte)); // copying all for each byte would take minutes
      input.take();
    }
    expect(input.pending).toHaveLength(0);
  });
});
