/**
 * Scenarios that test the explorer itself: textbook protocols, right and wrong, and programs given
 * as data.
 */
import assert from 'node:assert/strict';
import { defineScenario, type LibcModel } from './scenario.ts';

const words = (buffer: SharedArrayBuffer): Int32Array => new Int32Array(buffer);
const one = (): { m: SharedArrayBuffer } => ({ m: new SharedArrayBuffer(64) });
const file = import.meta.url;

/** Two actors add 1 with a load and a store. */
export const lostUpdate = defineScenario({
  file,
  name: 'lost-update',
  memory: one,
  actors: { left: ({ m }) => increment(words(m)), right: ({ m }) => increment(words(m)) },
  check: ({ m }) => assert.equal(words(m)[0], 2, 'both additions count'),
});

function increment(counter: Int32Array): void {
  Atomics.store(counter, 0, Atomics.load(counter, 0) + 1);
}

const READY = 0;
const DATA = 1;

/** A message in plain data, published by a flag. */
export const message = defineScenario({
  file,
  name: 'message',
  memory: one,
  actors: {
    sender: ({ m }) => {
      const box = words(m);
      box[DATA] = 42;
      Atomics.store(box, READY, 1);
      Atomics.notify(box, READY);
    },
    receiver: ({ m }) => {
      const box = words(m);
      while (Atomics.load(box, READY) === 0) Atomics.wait(box, READY, 0, 10);
      assert.equal(box[DATA], 42, 'the message is there');
    },
  },
});

/** As message, where the receiver's time-out may fire. */
export const impatient = defineScenario({ ...message, name: 'impatient', timeouts: 'idle' });

/** A lock taken by spinning; and one that is never given back. */
export const spinLock = defineScenario({
  file,
  name: 'spin-lock',
  memory: one,
  actors: { left: ({ m }) => locked(words(m)), right: ({ m }) => locked(words(m)) },
  check: ({ m }) => assert.equal(words(m)[1], 2),
});

function locked(lock: Int32Array): void {
  while (Atomics.compareExchange(lock, 0, 0, 1) !== 0) while (Atomics.load(lock, 0) !== 0);
  lock[1]!++;
  Atomics.store(lock, 0, 0);
}

/** libc and the clock as the scenario says. */
export const world = defineScenario({
  file,
  name: 'world',
  memory: one,
  timeouts: 'idle',
  libc: ({ m }): LibcModel => ({ close: (fd: number) => words(m).fill(fd, 0, 1) }),
  actors: {
    sleeper: ({ m }) => {
      const before = performance.now();
      assert.equal(Atomics.wait(words(m), 1, 0, 5000), 'timed-out');
      assert.ok(performance.now() - before >= 5000, 'time has passed');
    },
  },
});

/** Operations of a program given as data: [operation, word, operand] per step. */
export const OPERATIONS = ['load', 'store', 'add', 'compareExchange', 'read', 'write', 'wait', 'notify'] as const;
export type Instruction = readonly [(typeof OPERATIONS)[number], number, number];
export type Program = readonly (readonly Instruction[])[];

const ACTORS = 3;
const LENGTH = 4;
const WORDS = 3;

/** What the main thread gives and takes: the program to run, and the outcomes seen. */
export const given: { program: Program; outcomes: Set<string> } = { program: [], outcomes: new Set() };

/** Runs `given.program`; a wait times out when nothing else can run, so it always ends. */
export const programs = defineScenario({
  file,
  name: 'programs',
  timeouts: 'idle',
  memory: () => {
    const code = new SharedArrayBuffer(4 * 3 * LENGTH * ACTORS);
    given.program.forEach((instructions, actor) => {
      instructions.forEach(([operation, word, operand], i) => {
        words(code).set([OPERATIONS.indexOf(operation) + 1, word, operand], 3 * (actor * LENGTH + i));
      });
    });
    return { code, m: new SharedArrayBuffer(64), seen: new SharedArrayBuffer(64) };
  },
  actors: {
    a: (memory) => interpret(memory, 0),
    b: (memory) => interpret(memory, 1),
    c: (memory) => interpret(memory, 2),
  },
  check: ({ m, seen }) => given.outcomes.add([...words(m).slice(0, WORDS), ...words(seen).slice(0, ACTORS)].join(' ')),
});

function interpret({ code, m, seen }: Record<'code' | 'm' | 'seen', SharedArrayBuffer>, actor: number): void {
  let sum = 0;
  for (let i = 0; i < LENGTH; i++) {
    const [operation, word, operand] = words(code).slice(3 * (actor * LENGTH + i));
    if (operation === 0) break;
    const result = execute(words(m), OPERATIONS[operation! - 1]!, word!, operand!);
    sum = (sum * 7 + result) % 10_007;
  }
  words(seen)[actor] = sum;
}

function execute(m: Int32Array, operation: Instruction[0], word: number, operand: number): number {
  switch (operation) {
    case 'load':
      return Atomics.load(m, word);
    case 'store':
      return Atomics.store(m, word, operand);
    case 'add':
      return Atomics.add(m, word, operand);
    case 'compareExchange':
      return Atomics.compareExchange(m, word, operand - 1, operand);
    case 'read':
      return m[word]!;
    case 'write':
      m[word] = operand;
      return operand;
    case 'wait':
      return ['ok', 'not-equal', 'timed-out'].indexOf(Atomics.wait(m, word, 0, 1));
    case 'notify':
      return Atomics.notify(m, word, 1);
  }
}
