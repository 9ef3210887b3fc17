import { afterAll, describe, it } from 'vitest';
import { stopActors } from './actors.ts';
import { findsMutant, holds } from './expectations.ts';
import { abandon, crowd, exhaustion, otherWork, twoRequesters } from './mailbox.scenario.ts';
import type { Mutant } from './scenario.ts';

afterAll(stopActors);

const file = 'platform/mailbox.ts';

const mutants = {
  postedBeforeTheQuestion: {
    name: 'posted-before-the-question',
    file,
    find: `    words[base + Slot.word.lo] = lo;
    words[base + Slot.word.hi] = hi;
    Atomics.store(words, state, POSTED); // pairs with the load in MailboxServer.serve
`,
    replace: `    Atomics.store(words, state, POSTED);
    words[base + Slot.word.lo] = lo;
    words[base + Slot.word.hi] = hi;
`,
  },
  ringBeforePosted: {
    name: 'ring-before-posted',
    file,
    find: `    Atomics.store(words, state, POSTED); // pairs with the load in MailboxServer.serve
    ring(words);
`,
    replace: `    ring(words);
    Atomics.store(words, state, POSTED);
`,
  },
  noWakeUpWhenDone: {
    name: 'no-wake-up-when-done',
    file,
    find: 'if (Atomics.compareExchange(words, state, POSTED, DONE) === POSTED) Atomics.notify(words, state);',
    replace: 'if (Atomics.compareExchange(words, state, POSTED, DONE) === POSTED) void 0;',
  },
  claimIsNoExchange: {
    name: 'claim-is-no-exchange',
    file,
    find: 'if (Atomics.compareExchange(words, slotBase(slot) + Slot.word.state, FREE, CLAIMED) === FREE) return slot;',
    replace: `if (Atomics.load(words, slotBase(slot) + Slot.word.state) !== FREE) continue;
        Atomics.store(words, slotBase(slot) + Slot.word.state, CLAIMED);
        return slot;`,
  },
  noWakeUpWhenFreed: {
    name: 'no-wake-up-when-freed',
    file,
    find: '  Atomics.notify(words, Header.word.freed, 1);\n',
    replace: '',
  },
  freedLoadedAfterTheLook: {
    name: 'freed-loaded-after-the-look',
    file,
    find: 'Atomics.wait(words, Header.word.freed, freed, left);',
    replace: 'Atomics.wait(words, Header.word.freed, Atomics.load(words, Header.word.freed), left);',
  },
  doneIsNoExchange: {
    name: 'done-is-no-exchange',
    file,
    find: 'if (Atomics.compareExchange(words, state, POSTED, DONE) === POSTED) Atomics.notify(words, state);',
    replace: 'if (Atomics.store(words, state, DONE) === DONE) Atomics.notify(words, state);',
  },
  abandonedIsNotFreed: {
    name: 'abandoned-is-not-freed',
    file,
    find: '      else free(words, state); // the requester gave up meanwhile\n',
    replace: '      else Atomics.store(words, state, CLAIMED);\n',
  },
  ringWithoutNotify: {
    name: 'ring-without-notify',
    file,
    find: `in MailboxServer.bell
  Atomics.notify(words, Header.word.bell);
`,
    replace: `in MailboxServer.bell
`,
  },
} as const satisfies Record<string, Mutant>;

describe('the mailbox', () => {
  it('gives two requesters their own answers and loses no wake-up', () => holds(twoRequesters));
  it('wakes a requester that waits for a slot', () => holds(exhaustion));
  it('loses no slot and gives no stale answer when requests time out', () => holds(abandon));
  it('serves a crowd in random schedules', () => holds(crowd, { seed: 1, executions: 1000 }));
  it('loses no ring beside a request', () => holds(otherWork));
});

describe('seeded bugs of the mailbox', () => {
  it.each([
    { mutant: mutants.postedBeforeTheQuestion, scenario: twoRequesters, kind: 'threw' },
    { mutant: mutants.ringBeforePosted, scenario: twoRequesters, kind: 'deadlock' },
    { mutant: mutants.noWakeUpWhenDone, scenario: twoRequesters, kind: 'deadlock' },
    { mutant: mutants.claimIsNoExchange, scenario: twoRequesters, kind: 'steps' },
    { mutant: mutants.noWakeUpWhenFreed, scenario: exhaustion, kind: 'deadlock' },
    { mutant: mutants.freedLoadedAfterTheLook, scenario: exhaustion, kind: 'deadlock' },
    { mutant: mutants.doneIsNoExchange, scenario: abandon, kind: 'check' },
    { mutant: mutants.abandonedIsNotFreed, scenario: abandon, kind: 'check' },
    { mutant: mutants.ringWithoutNotify, scenario: otherWork, kind: 'deadlock' },
  ] as const)('$mutant.name is found and replayed', ({ mutant, scenario, kind }) =>
    findsMutant(scenario, mutant, kind),
  );
});
