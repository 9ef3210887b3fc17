import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { CommandSet, command } from '../../../vmm/monitor/command.ts';
import { parseJson } from '../../../vmm/monitor/json.ts';
import { any, arrayOf, bool, enumOf, int, NOTHING, number, object, str, union } from '../../../vmm/monitor/qapi.ts';
import { readCommand } from '../../../vmm/monitor/qmp.ts';
import { SchemaCheck } from './schema-check.ts';

const COLOUR = enumOf('red', 'blue');
const SHAPE = union(
  'kind',
  {
    circle: object({ radius: int }),
    polygon: union('corners', { three: object({ a: str }), four: object({ a: bool }) }),
  },
  { colour: COLOUR },
);
const ARGS = object({ shapes: arrayOf(SHAPE), name: str }, { weight: number, colour: COLOUR, note: any });

const commands = new CommandSet(
  { draw: command({ args: ARGS, returns: ARGS, run: (args) => args }) },
  { DRAWN: NOTHING, RESIZED: object({ to: int }) },
);

const PLAIN = { noNullPrototype: true } as const;

const run = (line: object): Promise<unknown> =>
  commands.execute(readCommand(parseJson(Buffer.from(JSON.stringify(line)))));
const schema = async (): Promise<readonly object[]> =>
  (await run({ execute: 'query-qmp-schema' })) as readonly object[];

/** Anything, out of the words that mean something here. */
const junk = fc.letrec((tie) => ({
  any: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom('red', 'circle', 'three', '', 0, -1, 1.5, 2 ** 60, 1e300, true, null),
    fc.array(tie('any'), { maxLength: 2 }),
    fc.dictionary(fc.constantFrom('kind', 'corners', 'a', 'radius', 'colour', '__proto__'), tie('any'), PLAIN),
  ),
})).any;
const colour = fc.constantFrom('red', 'blue');
const right = fc.oneof(
  fc.record({ kind: fc.constant('circle'), colour, radius: fc.integer() }, PLAIN),
  fc.record({ kind: fc.constant('polygon'), corners: fc.constant('three'), colour, a: fc.string() }, PLAIN),
  fc.record({ kind: fc.constant('polygon'), corners: fc.constant('four'), colour, a: fc.boolean() }, PLAIN),
);
/** A right shape with one member that may be anything. */
const damaged = fc
  .tuple(right, fc.constantFrom('kind', 'corners', 'colour', 'a', 'radius', 'more'), junk)
  .map(([shape, name, value]) => ({ ...shape, [name]: value }));
const often = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<unknown> => fc.oneof({ weight: 9, arbitrary }, junk);
const args = fc.record(
  {
    shapes: often(fc.array(fc.oneof({ weight: 5, arbitrary: right }, damaged), { maxLength: 2 })),
    name: often(fc.string()),
    weight: often(fc.double({ noNaN: true, noDefaultInfinity: true })),
    colour: often(colour),
    note: junk,
  },
  { requiredKeys: ['shapes', 'name'], ...PLAIN },
);

describe('query-qmp-schema', () => {
  it('describes commands, events and types as QEMU does, types without their names', async () => {
    expect(await schema()).toEqual(
      expect.arrayContaining([
        { name: 'draw', 'meta-type': 'command', 'arg-type': '0', 'ret-type': '0' },
        { name: 'query-commands', 'meta-type': 'command', 'arg-type': '1', 'ret-type': '[2]' },
        { name: 'DRAWN', 'meta-type': 'event', 'arg-type': '1' },
        { name: 'RESIZED', 'meta-type': 'event', 'arg-type': '4' },
        {
          name: '0',
          'meta-type': 'object',
          members: [
            { name: 'shapes', type: '[5]' },
            { name: 'name', type: 'str' },
            { name: 'weight', type: 'number', default: null },
            { name: 'colour', type: '6', default: null },
            { name: 'note', type: 'any', default: null },
          ],
        },
        { name: '1', 'meta-type': 'object', members: [] },
        {
          name: '5',
          'meta-type': 'object',
          members: [
            { name: 'colour', type: '6' },
            { name: 'kind', type: '14' },
          ],
          tag: 'kind',
          variants: [
            { case: 'circle', type: '15' },
            { case: 'polygon', type: '16' },
          ],
        },
        { name: '[5]', 'meta-type': 'array', 'element-type': '5' },
        { name: '6', 'meta-type': 'enum', members: [{ name: 'red' }, { name: 'blue' }], values: ['red', 'blue'] },
        { name: 'number', 'meta-type': 'builtin', 'json-type': 'number' },
        { name: 'any', 'meta-type': 'builtin', 'json-type': 'value' },
      ]),
    );
  });

  it('names no type that it does not describe, and describes itself', async () => {
    const answer = await schema();
    const check = new SchemaCheck(answer);
    expect(check.dangling).toEqual([]);
    expect(check.fits('query-qmp-schema', 'ret-type', answer)).toBe(true);
    expect(check.fits('query-commands', 'ret-type', await run({ execute: 'query-commands' }))).toBe(true);
  });

  it('says of every value what the check of arguments says', async () => {
    const check = new SchemaCheck(await schema());
    let accepted = 0;
    await fc.assert(
      fc.asyncProperty(args, async (given) => {
        const text = JSON.parse(JSON.stringify(given));
        const fits = check.fits('draw', 'arg-type', text);
        if (fits) accepted++;
        const answer = run({ execute: 'draw', arguments: given });
        if (fits) expect(await answer).toEqual(text);
        else await expect(answer).rejects.toThrow(/^(Parameter|Invalid parameter type for) '/);
      }),
      { numRuns: 1000 },
    );
    expect(accepted).toBeGreaterThan(50);
  });
});
