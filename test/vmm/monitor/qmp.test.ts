import { describe, expect, it } from 'vitest';

import { JsonNumber, parseJson } from '../../../vmm/monitor/json.ts';
import { failure, formatLine, idOf, readCommand, success } from '../../../vmm/monitor/qmp.ts';
import { QmpError } from '../../../vmm/monitor/qmp-error.ts';

const read = (text: string) => parseJson(Buffer.from(text));

/** Every wording here was printed by qemu-system-riscv64 7.2 for the same input. */
describe('QMP messages', () => {
  it('are printed as QEMU prints them', () => {
    expect(formatLine(success({}, new JsonNumber('7')))).toBe('{"return": {}, "id": 7}\r\n');
    expect(formatLine(success({ status: 'running', list: [1, 'a'] }, undefined))).toBe(
      '{"return": {"status": "running", "list": [1, "a"]}}\r\n',
    );
    const error = new QmpError('The command nope has not been found', 'CommandNotFound');
    expect(formatLine(failure(error, 'x'))).toBe(
      '{"id": "x", "error": {"class": "CommandNotFound", "desc": "The command nope has not been found"}}\r\n',
    );
  });

  it('are ASCII only', () => {
    expect(formatLine({ text: 'ä€😀"\n' })).toBe('{"text": "\\u00e4\\u20ac\\ud83d\\ude00\\"\\n"}\r\n');
  });

  it.each([
    { text: '{"nope":1}', desc: "QMP input member 'nope' is unexpected" },
    { text: '{"execute":"stop","extra":1}', desc: "QMP input member 'extra' is unexpected" },
    { text: '{}', desc: "QMP input lacks member 'execute'" },
    { text: '{"execute":5}', desc: "QMP input member 'execute' must be a string" },
    { text: '{"execute":"stop","arguments":[]}', desc: "QMP input member 'arguments' must be an object" },
    { text: '[1,2]', desc: 'QMP input must be a JSON object' },
    { text: '"abc"', desc: 'QMP input must be a JSON object' },
    { text: '5', desc: 'QMP input must be a JSON object' },
    { text: 'garbage', desc: "JSON parse error, invalid keyword 'garbage'" },
  ])('$text is refused: $desc', ({ text, desc }) => {
    expect(() => readCommand(read(text))).toThrow(new QmpError(desc));
  });

  it.each([
    '{"a": [null]}',
    '9007199254740993',
    '18446744073709551615',
    '-0',
    '1e400',
    '"\\u00e4"',
    '{"__proto__": 1, "1": 2, "0": 3}',
  ])('echo the id %s letter by letter', (id) => {
    const value = read(`{"execute": "stop", "id": ${id}}`);
    expect(formatLine(success({}, idOf(value)))).toBe(`{"return": {}, "id": ${id}}\r\n`);
  });

  it('echo the id of a value that is no command, and none of what is no object', () => {
    expect(idOf(read('{"nope":1,"id":"x"}'))).toBe('x');
    expect(idOf(read('[1]'))).toBeUndefined();
  });
});
