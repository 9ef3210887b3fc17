import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { stopActors } from './actors.ts';
import { outcomes } from './brute-force.ts';
import { mutate } from './bundle.ts';
import { findsMutant, holds } from './expectations.ts';
import {
  given,
  type Instruction,
  impatient,
  lostUpdate,
  message,
  OPERATIONS,
  type Program,
  programs,
  spinLock,
  world,
} from './explorer.scenario.ts';
import { explore, replay } from './explorer.ts';
import type { Mutant } from './scenario.ts';
import { decodeSchedule } from './schedule.ts';

afterAll(stopActors);

const path = 'test/explore/explorer.scenario.ts';

const atomicAdd: Mutant = {
  name: 'atomic-add',
  file: path,
  find: 'Atomics.store(counter, 0, Atomics.load(counter, 0) + 1);',
  replace: 'Atomics.add(counter, 0, 1);',
};

const messageMutants = {
  early: {
    name: 'published-early',
    file: path,
    find: '      box[DATA] = 42;\n      Atomics.store(box, READY, 1);\n',
    replace: '      Atomics.store(box, READY, 1);\n      box[DATA] = 42;\n',
  },
  deaf: {
    name: 'waits-for-anything',
    file: path,
    find: 'Atomics.wait(box, READY, 0, 10);',
    replace: 'Atomics.wait(box, READY, Atomics.load(box, READY), 10);',
  },
} as const satisfies Record<string, Mutant>;

const keptLock: Mutant = {
  name: 'kept-lock',
  file: path,
  find: '  lock[1]!++;\n  Atomics.store(lock, 0, 0);\n',
  replace: '  lock[1]!++;\n',
};

const instruction: fc.Arbitrary<Instruction> = fc.tuple(
  fc.constantFrom(...OPERATIONS),
  fc.integer({ min: 0, max: 2 }),
  fc.integer({ min: 1, max: 3 }),
);
const program: fc.Arbitrary<Program> = fc.tuple(
  fc.array(instruction, { minLength: 1, maxLength: 4 }),
  fc.array(instruction, { minLength: 1, maxLength: 3 }),
  fc.array(instruction, { minLength: 1, maxLength: 2 }),
);

async function explored(instructions: Program, preemptions: number): Promise<string[]> {
  given.program = instructions;
  given.outcomes = new Set();
  const { failure } = await explore(programs, { preemptions });
  expect(failure?.report).toBeUndefined();
  return [...given.outcomes].sort();
}

describe('the explorer', () => {
  it.each([0, 1, 2, 99])(
    'sees exactly the outcomes of a naive enumeration with %i preemptions',
    async (preemptions) => {
      await fc.assert(
        fc.asyncProperty(program, async (instructions) => {
          expect(await explored(instructions, preemptions)).toEqual([...outcomes(instructions, preemptions)].sort());
        }),
        { numRuns: 15 },
      );
    },
  );

  it('finds a lost update, and nothing when the update is atomic', async () => {
    expect((await explore(lostUpdate)).failure?.message).toBe('both additions count');
    await holds(lostUpdate, { mutant: atomicAdd });
  });

  it('finds no failure within 0 preemptions that takes one', () => holds(lostUpdate, { preemptions: 0 }));

  it('sees plain data that is published too early', async () => {
    await holds(message);
    await findsMutant(message, messageMutants.early, 'threw');
  });

  it('reports a lost wake-up as a deadlock, unless time-outs may fire', async () => {
    await findsMutant(message, messageMutants.deaf, 'deadlock');
    await holds(impatient, { mutant: messageMutants.deaf });
  });

  it('lets a spinning actor go on when its word is written, and reports one that spins for ever', async () => {
    await holds(spinLock);
    await findsMutant(spinLock, keptLock, 'deadlock');
  });

  it('moves the clock by time-outs', () => holds(world));

  it('draws the same random schedules from a seed, and replays what they found', async () => {
    const found = await explore(lostUpdate, { seed: 7 });
    const again = await explore(lostUpdate, { seed: 7 });
    expect(again.failure?.replay).toBe(found.failure!.replay);
    expect((await replay(lostUpdate, found.failure!.replay)).failure?.message).toBe('both additions count');
  });

  it('prints the events in order, and the command that replays them', async () => {
    const { failure } = await explore(lostUpdate);
    expect(failure?.report.split('\n')).toEqual([
      'lost-update: both additions count',
      '    0 a left   load m.0 → 0',
      '    1 b right  load m.0 → 0',
      '    2 b right  store m.0 1',
      '    3 a left   store m.0 1',
      "replay: EXPLORE_REPLAY='lost-update:1b' npx vitest run test/explore/explorer.test.ts",
    ]);
  });

  it('refuses a mutant whose text is gone or ambiguous', () => {
    expect(() => mutate('', atomicAdd)).toThrow('out of date: its text occurs 0 times');
    expect(() => mutate(atomicAdd.find.repeat(2), atomicAdd)).toThrow('occurs 2 times');
  });

  it('refuses a replay string that is no schedule, or not of this scenario', async () => {
    expect(() => decodeSchedule('1b?')).toThrow('no schedule');
    await expect(replay(lostUpdate, 'lost-update:1c')).rejects.toThrow('cannot be taken');
  });
});
