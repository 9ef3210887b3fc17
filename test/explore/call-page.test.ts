import { afterAll, describe, it } from 'vitest';
import { stopActors } from './actors.ts';
import { answers, rings, sleeps } from './call-page.scenario.ts';
import { findsMutant, holds } from './expectations.ts';
import type { Mutant } from './scenario.ts';

afterAll(stopActors);

const file = 'iommu/abi/call-page.ts';
const bell = 'iommu/abi/bell.ts';

const mutants = {
  withdrawalIsNoExchange: {
    name: 'withdrawal-is-no-exchange',
    file,
    find: 'Atomics.compareExchange(words, state, POSTED, FREE) === POSTED)',
    replace: 'Atomics.exchange(words, state, FREE) !== FREE)',
  },
  takingIsNoExchange: {
    name: 'taking-is-no-exchange',
    file,
    find: 'if (Atomics.compareExchange(words, state, POSTED, SERVING) !== POSTED) return undefined;',
    replace: 'Atomics.store(words, state, SERVING);',
  },
  answerIsNoExchange: {
    name: 'answer-is-no-exchange',
    file,
    find: 'const answered = Atomics.compareExchange(words, Page.word.state, SERVING, DONE) === SERVING;',
    replace: 'const answered = Atomics.exchange(words, Page.word.state, DONE) === SERVING;',
  },
  tiredIsNoExchange: {
    name: 'tired-is-no-exchange',
    file,
    find: 'Atomics.compareExchange(words, state, SERVING, BY_SOCKET);\n    // pairs',
    replace: 'Atomics.store(words, state, BY_SOCKET);\n    // pairs',
  },
  answeredBeforeTheResult: {
    name: 'answered-before-the-result',
    file,
    find: `    words[Page.word.ret] = ret;
    words[Page.word.out] = out ? out.length : -1;
    if (out) this.#data.set(out);
    // pairs with the load in CallPageClient.#lasts
    const answered = Atomics.compareExchange(words, Page.word.state, SERVING, DONE) === SERVING;`,
    replace: `    const answered = Atomics.compareExchange(words, Page.word.state, SERVING, DONE) === SERVING;
    words[Page.word.ret] = ret;
    words[Page.word.out] = out ? out.length : -1;
    if (out) this.#data.set(out);`,
  },
  postedBeforeTheCall: {
    name: 'posted-before-the-call',
    file,
    find: `    words[Page.word.op] = op;
    words[Page.word.fd] = fd;
    words[Page.word.length] = length;
    Atomics.store(words, state, POSTED); // pairs with the exchange in CallPageServer.take
`,
    replace: `    Atomics.store(words, state, POSTED);
    words[Page.word.op] = op;
    words[Page.word.fd] = fd;
    words[Page.word.length] = length;
`,
  },
  leavingKeepsTheClientWaiting: {
    name: 'leaving-says-done',
    file,
    find: 'Atomics.compareExchange(this.#words, Page.word.state, SERVING, BY_SOCKET); // pairs as in answer',
    replace: 'Atomics.compareExchange(this.#words, Page.word.state, SERVING, DONE);',
  },
  bellThatWakesNobody: {
    name: 'bell-that-wakes-nobody',
    file: bell,
    find: '    futexWake({ words, index: bell, shared: this.#shared });\n',
    replace: '',
  },
  bellThatDoesNotCount: {
    name: 'bell-that-does-not-count',
    file: bell,
    find: '    Atomics.add(words, bell, 1); // pairs with the load in letRing\n',
    replace: '',
  },
  ringBeforeTheCall: {
    name: 'ring-before-the-call',
    file,
    find: `    Atomics.store(words, state, POSTED); // pairs with the exchange in CallPageServer.take
    if (this.#bell.ring() === RINGS &&`,
    replace: `    const rung = this.#bell.ring();
    Atomics.store(words, state, POSTED);
    if (rung === RINGS &&`,
  },
  saysThatItSleepsTooLate: {
    name: 'says-that-it-sleeps-too-late',
    file,
    find: `    Atomics.store(words, sleeps, 1);
    futexWait({ words, index: state, shared: true, seen: POSTED }, this.#patience.sleepMs);
`,
    replace: `    futexWait({ words, index: state, shared: true, seen: POSTED }, this.#patience.sleepMs);
    Atomics.store(words, sleeps, 1);
`,
  },
  answerThatWakesNobody: {
    name: 'answer-that-wakes-nobody',
    file,
    find: `    this.#wake();
    return answered;`,
    replace: '    return answered;',
  },
  bellHeardAfterTheWord: {
    name: 'bell-heard-after-the-word',
    file: bell,
    find: 'return { words, index, shared: this.#shared, seen };',
    replace: 'return { words, index, shared: this.#shared, seen: Atomics.load(words, index) };',
  },
} as const satisfies Record<string, Mutant>;

/** One preemption for each of the exchanges of a call. */
const BOUND = { preemptions: 3 };

describe('calls by a page of shared memory', () => {
  it('are carried out once each, by the page or by the socket', () => holds(answers, BOUND));
  it('are heard where the kernel waits for their bell', () => holds(rings, BOUND));
  it('get their answers by the socket when they sleep', () => holds(sleeps, BOUND));
});

describe('seeded bugs of the call page', () => {
  it.each([
    { mutant: mutants.withdrawalIsNoExchange, scenario: answers, kind: 'check' },
    { mutant: mutants.takingIsNoExchange, scenario: answers, kind: 'check' },
    { mutant: mutants.answerIsNoExchange, scenario: answers, kind: 'threw' },
    { mutant: mutants.tiredIsNoExchange, scenario: answers, kind: 'deadlock' },
    { mutant: mutants.answeredBeforeTheResult, scenario: answers, kind: 'threw' },
    { mutant: mutants.postedBeforeTheCall, scenario: answers, kind: 'threw' },
    { mutant: mutants.leavingKeepsTheClientWaiting, scenario: sleeps, kind: 'threw' },
    { mutant: mutants.bellThatWakesNobody, scenario: rings, kind: 'deadlock' },
    { mutant: mutants.bellThatDoesNotCount, scenario: rings, kind: 'deadlock' },
    { mutant: mutants.ringBeforeTheCall, scenario: rings, kind: 'deadlock' },
    { mutant: mutants.saysThatItSleepsTooLate, scenario: rings, kind: 'deadlock' },
    { mutant: mutants.answerThatWakesNobody, scenario: rings, kind: 'deadlock' },
    { mutant: mutants.bellHeardAfterTheWord, scenario: rings, kind: 'steps' },
  ] as const)('$mutant.name is found and replayed', ({ mutant, scenario, kind }) =>
    findsMutant(scenario, mutant, kind, BOUND),
  );
});
