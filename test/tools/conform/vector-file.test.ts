import { describe, expect, it } from 'vitest';

import { parseVectors, VectorError } from '../../../tools/conform/vector-file.ts';

const SAMPLE = `#%uname 6.12 #1
#%dev edu0 0000:00:04.0 1
# group map-args: 1 case
case one
! container c1
< 0
> @T& unmap c1 flags=0x1 iova=$RAM+0x1000 size=0 bitmap=buf:8
< -EINVAL bm=0000000000000000
end
`;

describe('parseVectors', () => {
  it('reads kernel, devices, group, cases, steps and answers', () => {
    const file = parseVectors(SAMPLE, 'x.vec');
    expect(file).toMatchObject({ uname: '6.12 #1', group: 'map-args' });
    expect(file.devices).toEqual([{ name: 'edu0', bdf: '0000:00:04.0', group: 1 }]);
    expect(file.cases[0]?.steps[1]).toEqual({
      line: 7,
      text: '@T& unmap c1 flags=0x1 iova=$RAM+0x1000 size=0 bitmap=buf:8',
      setUp: false,
      actor: 'T',
      inBackground: true,
      op: 'unmap',
      args: ['c1'],
      options: { flags: '0x1', iova: '$RAM+0x1000', size: '0', bitmap: 'buf:8' },
      expected: '-EINVAL bm=0000000000000000',
    });
  });

  it('takes the group from the name of a file that does not say it', () => {
    expect(parseVectors('', '/tmp/dirty-sample.vec.gz').group).toBe('dirty');
  });

  it.each([
    ['case a\n! api c1\n! api c1\n', 'x.vec:3: expected the answer to `api c1`'],
    ['case a\n< 0\n', 'x.vec:2: an answer without a step'],
    ['case a\ncase b\n', 'x.vec:2: a case inside a case'],
    ['! map c1\n', 'x.vec:1: `! map c1` outside a case'],
    ['case a\n', 'x.vec:2: the file ends inside case a'],
    ['case a\n! api c1', 'x.vec:2: the file ends before the last answer'],
    ['#%dev edu0\n', 'x.vec:1: not `#%dev NAME BDF GROUP`'],
    ['case a\nhello\n', 'x.vec:2: `hello` is no step, answer or comment'],
    ['\u0000\u0001', 'x.vec:1: `\u0000\u0001` outside a case'],
    ['case a\n> \n', 'x.vec:2: a step without an operation'],
    ['case a\n> frob c1\n', 'x.vec:2: no operation frob'],
    ['case a\n> toString\n', 'x.vec:2: no operation toString'],
    ['case a\n> check c1\n', 'x.vec:2: check takes 2 words, not 1'],
    ['case a\n> mem RAM memfd\n', 'x.vec:2: mem takes 3 to 4 words, not 2'],
    ['case a\n> check c1 five\n', 'x.vec:2: check: `five` is no number'],
    ['case a\n> map c1 iova=0x\n', 'x.vec:2: map: iova=`0x` is no number'],
    ['case a\n> map c1 start=0\n', 'x.vec:2: map has no option start='],
    ['case a\n> set_irqs d1 fds=e1,,e2\n', 'x.vec:2: set_irqs: fds=`e1,,e2` is no fds'],
    ['case a\n> pwrite d1 7:4 060\n', 'x.vec:2: pwrite: `060` is no hex'],
    ['case a\n> api c1\n<  \n', 'x.vec:3: an empty answer'],
  ])('says in one line what is wrong with %j', (text, message) => {
    expect(() => parseVectors(text, 'x.vec')).toThrow(new VectorError(message));
  });
});
