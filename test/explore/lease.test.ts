import { afterAll, describe, it } from 'vitest';
import { stopActors } from './actors.ts';
import { findsMutant, holds } from './expectations.ts';
import { accessWakesOwner, farAccess, farCall, lendAndRecall, nextCrew, wakeFindsTheHart } from './lease.scenario.ts';
import type { Mutant } from './scenario.ts';

afterAll(stopActors);

const LEASE = 'vmm/machine/control/lease.ts';
const FAR = 'vmm/machine/shared/far-access.ts';
const LENDING = 'vmm/crew/vcpu/lending.ts';
const LENT = 'vmm/crew/vcpu/lent-hart.ts';

const mutants = {
  lentBeforeTheState: {
    name: 'lent-before-the-state',
    file: LENDING,
    find: `      this.#options.loans[number]!.put(hart.save());
      this.#lender.lend(number);
`,
    replace: `      this.#lender.lend(number);
      this.#options.loans[number]!.put(hart.save());
`,
  },
  homeBeforeTheState: {
    name: 'home-before-the-state',
    file: LENT,
    find: `        if (has) borrowed.giveBack(); // else the owner finds what it has written itself
        has = false;
        borrower.giveBack();
`,
    replace: `        borrower.giveBack();
        if (has) borrowed.giveBack();
        has = false;
`,
  },
  seenAfterTheLook: {
    name: 'seen-after-the-look',
    file: LENT,
    find: `    const seen = Atomics.load(control, wake);
    takeAttention(control, hart);
    switch (borrower.look()) {
`,
    replace: `    takeAttention(control, hart);
    const order = borrower.look();
    const seen = Atomics.load(control, wake);
    switch (order) {
`,
  },
  recallCallsNobody: {
    name: 'recall-calls-nobody',
    file: LEASE,
    find: `RECALLED)); // pairs with Borrower.look
    callAttention(this.#control, hart);
`,
    replace: 'RECALLED));\n',
  },
  backWithoutWakeUp: {
    name: 'back-without-wake-up',
    file: LEASE,
    find: 'if (Atomics.compareExchange(this.#control, this.#at, recalled, home) === recalled) this.#wakeOwner();',
    replace: 'Atomics.compareExchange(this.#control, this.#at, recalled, home);',
  },
  recallServesNobody: {
    name: 'recall-serves-nobody',
    file: LENDING,
    find: '      server.serve();\n',
    replace: '',
  },
  answeredBeforeTheAnswer: {
    name: 'answered-before-the-answer',
    file: FAR,
    find: `      this.#make(hart);
      Atomics.store(this.#words, state, ANSWERED); // pairs with the load in #access
`,
    replace: `      Atomics.store(this.#words, state, ANSWERED);
      this.#make(hart);
`,
  },
  answerWithoutWakeUp: {
    name: 'answer-without-wake-up',
    file: FAR,
    find: `in #access
      Atomics.notify(this.#words, state);
`,
    replace: 'in #access\n',
  },
  calledBeforePosted: {
    name: 'called-before-posted',
    file: FAR,
    find: `    Atomics.store(words, state, POSTED); // pairs with the load in FarServer.serve
    callAttention(this.#control, OWNER_HART);
`,
    replace: `    callAttention(this.#control, OWNER_HART);
    Atomics.store(words, state, POSTED);
`,
  },
  hartAtHomeSleepsOn: {
    name: 'hart-at-home-sleeps-on',
    file: LEASE,
    find: '  if (hart !== OWNER_HART && !isAway(Atomics.load(control, lease))) wakeHart(control, OWNER_HART);\n',
    replace: '  void lease;\n',
  },
  relievedThreadSleepsOn: {
    name: 'relieved-thread-sleeps-on',
    file: LEASE,
    find: '  for (let hart = 0; hart < hartsIn(control); hart++) put(control, hart, leaseWord(crew, ABSENT));\n',
    replace: '  void crew;\n',
  },
  leaseWithoutCrew: {
    name: 'lease-without-crew',
    file: LEASE,
    find: 'const leaseWord = (crew: number, state: number): number => (crew << 3) | state;',
    replace: 'const leaseWord = (_crew: number, state: number): number => state;',
  },
  calledBeforeTheData: {
    name: 'called-before-the-data',
    file: FAR,
    find: '    host?.data.set(data);\n',
    replace: '',
  },
  endsTheNextCrew: {
    name: 'ends-the-next-crew',
    file: LEASE,
    find: '      if (crewOf(lease) !== this.#crew) return false;\n',
    replace: '      void crewOf;\n',
  },
} as const satisfies Record<string, Mutant>;

describe('a hart that is lent', () => {
  it('comes back with all that it has done, whenever it is recalled', () => holds(lendAndRecall));
  it('gets the answer to each access, and gets it before it goes home', () => holds(farAccess));
  it('calls the host by the owner', () => holds(farCall));
  it('wakes the owner for an access', () => holds(accessWakesOwner));
  // three actors each: all schedules with two preemptions would take a minute
  it.each([{ preemptions: 1 }, { seed: 1, executions: 2000 }])('is woken wherever it is: %j', (options) =>
    holds(wakeFindsTheHart, options),
  );
  it.each([{ preemptions: 1 }, { seed: 1, executions: 2000 }])(
    'goes to no thread of a crew that was relieved: %j',
    (options) => holds(nextCrew, options),
  );
});

describe('seeded bugs of lending', () => {
  it.each([
    { mutant: mutants.lentBeforeTheState, scenario: lendAndRecall, kind: 'threw' },
    { mutant: mutants.homeBeforeTheState, scenario: lendAndRecall, kind: 'threw' },
    { mutant: mutants.seenAfterTheLook, scenario: lendAndRecall, kind: 'deadlock' },
    { mutant: mutants.recallCallsNobody, scenario: lendAndRecall, kind: 'deadlock' },
    { mutant: mutants.backWithoutWakeUp, scenario: lendAndRecall, kind: 'deadlock' },
    { mutant: mutants.recallServesNobody, scenario: farAccess, kind: 'deadlock' },
    { mutant: mutants.calledBeforeTheData, scenario: farCall, kind: 'threw' },
    { mutant: mutants.answeredBeforeTheAnswer, scenario: accessWakesOwner, kind: 'threw' },
    { mutant: mutants.answerWithoutWakeUp, scenario: accessWakesOwner, kind: 'deadlock' },
    { mutant: mutants.calledBeforePosted, scenario: accessWakesOwner, kind: 'deadlock' },
    { mutant: mutants.hartAtHomeSleepsOn, scenario: wakeFindsTheHart, kind: 'deadlock' },
    { mutant: mutants.relievedThreadSleepsOn, scenario: nextCrew, kind: 'deadlock' },
    { mutant: mutants.leaseWithoutCrew, scenario: nextCrew, kind: 'deadlock' },
    { mutant: mutants.endsTheNextCrew, scenario: nextCrew, kind: 'deadlock' },
  ] as const)('$mutant.name is found and replayed', ({ mutant, scenario, kind }) =>
    findsMutant(scenario, mutant, kind),
  );
});
