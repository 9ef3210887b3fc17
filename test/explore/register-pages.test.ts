import { afterAll, describe, it } from 'vitest';
import { stopActors } from './actors.ts';
import { findsMutant, holds } from './expectations.ts';
import {
  accesses,
  bellOfALoad,
  bellOfAStore,
  bellOfTheMailbox,
  bellTakenAway,
  lateAnswer,
  loneStore,
  takenAway,
  withoutBells,
} from './register-pages.scenario.ts';
import type { Mutant } from './scenario.ts';

afterAll(stopActors);

const client = 'iommu/abi/register-page.ts';
const bell = 'iommu/abi/bell.ts';
const server = 'iommu/bus/register-pages.ts';
const loop = 'devices/kit/loop.ts';

const mutants = {
  noLookAfterTheStore: {
    name: 'no-look-after-the-store',
    file: client,
    find: 'if (this.#bell.ring() === AWAY) this.#pass();',
    replace: 'this.#bell.ring();',
  },
  storePublishedTooEarly: {
    name: 'store-published-too-early',
    file: client,
    find: `    words[base] = whatOf(bar, size);
    words[base + 1] = at;
    words[base + 2] = lo;
    words[base + 3] = hi;
    this.#produced = (number + 1) >>> 0;
    Atomics.store(words, produced, this.#produced); // pairs with the load in RegisterPageServer
`,
    replace: `    this.#produced = (number + 1) >>> 0;
    Atomics.store(words, produced, this.#produced);
    words[base] = whatOf(bar, size);
    words[base + 1] = at;
    words[base + 2] = lo;
    words[base + 3] = hi;
`,
  },
  withdrawalIsNoExchange: {
    name: 'withdrawal-is-no-exchange',
    file: client,
    find: 'Atomics.compareExchange(words, state, POSTED, FREE) === POSTED) return false;',
    replace: 'Atomics.exchange(words, state, FREE) !== FREE) return false;',
  },
  valueAfterDone: {
    name: 'value-after-done',
    file: server,
    find: `    words[base + RegisterPage.word.lo] = value ? value.lo : -1;
    words[base + RegisterPage.word.hi] = value ? value.hi : -1;
    // pairs with the second exchange in RegisterPageClient.load
    if (!this.#exchange(base, SERVING, DONE)) this.#exchange(base, ABANDONED, FREE);
`,
    replace: `    if (!this.#exchange(base, SERVING, DONE)) this.#exchange(base, ABANDONED, FREE);
    words[base + RegisterPage.word.lo] = value ? value.lo : -1;
    words[base + RegisterPage.word.hi] = value ? value.hi : -1;
`,
  },
  loadBeforeStores: {
    name: 'load-before-stores',
    file: server,
    find: '    this.makeStores(handler); // those that came before the load\n',
    replace: '',
  },
  closedPageStaysKnown: {
    name: 'closed-page-stays-known',
    file: server,
    find: '      if (!isOpen) this.#bases[entry] = -1;\n',
    replace: '',
  },
  givesUpWithoutAWord: {
    name: 'gives-up-without-a-word',
    file: client,
    find: `    const done = Atomics.compareExchange(words, state, SERVING, ABANDONED) === DONE;
`,
    replace: `    const done = Atomics.exchange(words, state, FREE) === DONE;
`,
  },
  nextLoadDoesNotWait: {
    name: 'next-load-does-not-wait',
    file: client,
    find: `    if (Atomics.load(words, state) !== FREE) return false; // the worker has not come back to an earlier load
`,
    replace: '',
  },
  doneAfterAll: {
    name: 'done-after-all',
    file: server,
    find: 'if (!this.#exchange(base, SERVING, DONE)) this.#exchange(base, ABANDONED, FREE);',
    replace: 'Atomics.store(words, base + RegisterPage.word.state, DONE);',
  },
  bellThatWakesNobody: {
    name: 'bell-that-wakes-nobody',
    file: bell,
    find: '    futexWake({ words, index: bell, shared: this.#shared });\n',
    replace: '',
  },
  ringBeforeTheStore: {
    name: 'ring-before-the-store',
    file: client,
    find: `    Atomics.store(words, produced, this.#produced); // pairs with the load in RegisterPageServer
`,
    replace: `    this.#bell.ring();
    Atomics.store(words, produced, this.#produced);
    if (Atomics.load(words, attentive) !== AWAY) return true;
`,
  },
  lastLookBeforeTheWord: {
    name: 'last-look-before-the-word',
    file: loop,
    find: `    const bells = this.#wakeable() ? pages.fallAsleep() : [];
    if (bells.length === 0) pages.setAttentive(AWAY);
    if (pages.serve(endpoint)) return;`,
    replace: `    if (pages.serve(endpoint)) return;
    const bells = this.#wakeable() ? pages.fallAsleep() : [];
    if (bells.length === 0) pages.setAttentive(AWAY);`,
  },
  asleepWithoutABell: {
    name: 'asleep-without-a-bell',
    file: loop,
    find: '    if (bells.length === 0) pages.setAttentive(AWAY);\n',
    replace: '',
  },
  bellHeardAfterTheLook: {
    name: 'bell-heard-after-the-look',
    file: loop,
    find: 'else this.#server.waitWith(this.#seen, bells, ms);',
    replace: 'else this.#server.waitWith(this.#seen, pages.fallAsleep(), ms);',
  },
  mailboxDoesNotWakeIt: {
    name: 'mailbox-does-not-wake-it',
    file: 'platform/mailbox.ts',
    find: '  if (Atomics.load(words, Header.word.inLinux) !== 0) futexWake(bellOf(words));\n',
    replace: '',
  },
  sleepsOnThePagesAlone: {
    name: 'sleeps-on-the-pages-alone',
    file: 'platform/mailbox.ts',
    find: 'futexWaitAny([{ ...bellOf(words), seen }, ...others], timeoutMs);',
    replace: 'futexWaitAny(others, timeoutMs);',
  },
} as const satisfies Record<string, Mutant>;

/** One preemption for each exchange of an access, and one for a worker that comes late. */
const BOUND = { preemptions: 3 };
const LATE = { preemptions: 4 };

describe('registers by a page of shared memory', () => {
  it('are reached once for each access and in its order, by the page or by the kernel', () => holds(accesses, BOUND));
  it('get a store that nothing follows', () => holds(loneStore, BOUND));
  it('are not reached any more when the page is taken away', () => holds(takenAway));
  it('answer no load with the value of an earlier one', () => holds(lateAnswer, LATE));
});

describe('a worker that sleeps on the bells of its pages', () => {
  it('is woken by a store that nothing follows', () => holds(bellOfAStore, BOUND));
  it('sleeps on its mailbox alone where Linux cannot wake it otherwise', () => holds(withoutBells, BOUND));
  it('is woken by a load', () => holds(bellOfALoad, { preemptions: 2 }));
  it('is woken by its mailbox', () => holds(bellOfTheMailbox, BOUND));
  it('lets a page go on which it sleeps', () => holds(bellTakenAway, { preemptions: 2 }));
});

describe('seeded bugs of register pages', () => {
  it.each([
    { mutant: mutants.noLookAfterTheStore, scenario: loneStore, kind: 'check' },
    { mutant: mutants.storePublishedTooEarly, scenario: accesses, kind: 'threw' },
    { mutant: mutants.withdrawalIsNoExchange, scenario: accesses, kind: 'check' },
    { mutant: mutants.valueAfterDone, scenario: accesses, kind: 'threw' },
    { mutant: mutants.loadBeforeStores, scenario: accesses, kind: 'threw' },
    { mutant: mutants.closedPageStaysKnown, scenario: takenAway, kind: 'threw' },
    { mutant: mutants.givesUpWithoutAWord, scenario: lateAnswer, kind: 'check' },
    { mutant: mutants.nextLoadDoesNotWait, scenario: lateAnswer, kind: 'check' },
    { mutant: mutants.bellThatWakesNobody, scenario: bellOfAStore, kind: 'check' },
    { mutant: mutants.ringBeforeTheStore, scenario: bellOfAStore, kind: 'check' },
    { mutant: mutants.lastLookBeforeTheWord, scenario: bellOfAStore, kind: 'check' },
    { mutant: mutants.asleepWithoutABell, scenario: withoutBells, kind: 'check' },
    { mutant: mutants.bellHeardAfterTheLook, scenario: bellOfAStore, kind: 'check' },
    { mutant: mutants.mailboxDoesNotWakeIt, scenario: bellOfTheMailbox, kind: 'deadlock' },
    { mutant: mutants.sleepsOnThePagesAlone, scenario: bellOfTheMailbox, kind: 'deadlock' },
    { mutant: mutants.doneAfterAll, scenario: lateAnswer, kind: 'check' },
  ] as const)('$mutant.name is found and replayed', ({ mutant, scenario, kind }) =>
    findsMutant(scenario, mutant, kind, scenario === lateAnswer ? LATE : BOUND),
  );
});
