import { describe, expect, it } from 'vitest';
import { evaluate, formatBytes, parseVectors, VectorError } from './vector-file.ts';

const SAMPLE = `#%uname 6.12 #1
#%dev edu0 0000:00:04.0 1
case one
! container c1
< 0
> @T& unmap c1 flags=0x1 iova=$RAM+0x1000 bitmap=buf:8
< -EINVAL bm=0000000000000000
end
`;

describe('parseVectors', () => {
  it('reads kernel, devices, cases, steps and answers', () => {
    const file = parseVectors(SAMPLE, 'x.vec');
    expect(file.uname).toBe('6.12 #1');
    expect(file.devices).toEqual([{ name: 'edu0', bdf: '0000:00:04.0', group: 1 }]);
    expect(file.cases[0]?.steps[1]).toEqual({
      line: 6,
      text: '@T& unmap c1 flags=0x1 iova=$RAM+0x1000 bitmap=buf:8',
      setUp: false,
      actor: 'T',
      inBackground: true,
      op: 'unmap',
      args: ['c1'],
      options: { flags: '0x1', iova: '$RAM+0x1000', bitmap: 'buf:8' },
      expected: { status: '-EINVAL', fields: { bm: '0000000000000000' } },
    });
  });

  it.each([
    ['case a\n! map\n! map\n', 'x.vec:3: a step without an answer'],
    ['case a\n< 0\n', 'x.vec:2: an answer without a step'],
    ['case a\ncase b\n', 'x.vec:2: a case inside a case'],
    ['! map\n', 'x.vec:1: `! map` outside a case'],
    ['case a\n', 'x.vec: ends inside a case'],
    ['#%dev edu0\n', 'x.vec:1: not `#%dev NAME BDF GROUP`'],
    ['case a\nhello\n', 'x.vec:2: `hello` is no step, answer or comment'],
    ['\u0000\u0001', 'x.vec:1: `\u0000\u0001` outside a case'],
  ])('says in one line what is wrong with %j', (text, message) => {
    expect(() => parseVectors(text, 'x.vec')).toThrow(new VectorError(message));
  });
});

describe('evaluate', () => {
  const symbols = new Map([['RAM', 0x1000]]);

  it.each([
    ['0x10', 0x10n],
    ['$RAM+0x1000', 0x2000n],
    ['$RAM+0xfffffffffffff000', 0n],
  ])('%s is %s', (expression, value) => {
    expect(evaluate(expression, symbols)).toBe(value);
  });

  it('refuses a name that is not defined', () => {
    expect(() => evaluate('$HOLE', symbols)).toThrow('$HOLE is not defined');
  });
});

it('formatBytes writes long strings as runs', () => {
  const bytes = new Uint8Array(26);
  bytes[7] = 0x80;
  expect(formatBytes(bytes)).toBe('00*7.80.00*18');
  expect(formatBytes(bytes.subarray(7, 9))).toBe('8000');
});
