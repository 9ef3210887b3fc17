import { afterAll, describe, it } from 'vitest';
import { stopActors } from './actors.ts';
import { findsMutant, holds } from './expectations.ts';
import { asleep, death, late, rest, revoked, wakened } from './interrupt-page.scenario.ts';
import type { Mutant } from './scenario.ts';

afterAll(stopActors);

const client = 'iommu/abi/interrupt-page.ts';
const worker = 'iommu/bus/posted-interrupts.ts';

const mutants = {
  noLookAfterPosting: {
    name: 'no-look-after-posting',
    file: worker,
    find: '  switch (Atomics.compareExchange(words, base + thread, SLEEPS, RUNS)) {\n',
    replace: '  switch (RUNS as number) {\n',
  },
  nobodyIsWoken: {
    name: 'nobody-is-woken',
    file: worker,
    find: '      wake(base + thread); // the word is another one: whoever is about to sleep does not\n',
    replace: '',
  },
  looksBeforeItSleeps: {
    name: 'thread-looks-before-it-says-so',
    file: 'test/explore/interrupt-page.scenario.ts',
    find: `    interrupts.sleep();
    if (!interrupts.take(deliver)) Atomics.wait`,
    replace: `    const taken = interrupts.take(deliver);
    interrupts.sleep();
    if (!taken) Atomics.wait`,
  },
  newsWithoutFutex: {
    name: 'news-without-futex',
    file: 'vmm/machine/control/lease.ts',
    find: '  if (Atomics.load(control, outside) !== 0) futexWake({ words: control, index: wake, shared: false });\n',
    replace: '',
  },
  outsideUnsaid: {
    name: 'sleeper-does-not-say-so',
    file: 'vmm/crew/vcpu/sleeper.ts',
    find: '    Atomics.store(this.#control, outside, 1); // before it looks at `wake`; pairs with the load in wakeHart\n',
    replace: '',
  },
  signalsWhatIsTaken: {
    name: 'signals-what-is-taken',
    file: worker,
    find: '      if ((Atomics.and(words, word, ~bit) & bit) === 0) return 0; // it has looked after that\n      return takePosted(words, base, vector);\n',
    replace: '      takePosted(words, base, vector);\n      return 1;\n',
  },
  awayIsTaken: {
    name: 'away-is-not-signalled',
    file: worker,
    find: '    case AWAY:\n',
    replace: '    case -1:\n',
  },
  countAfterTheBit: {
    name: 'count-after-the-bit',
    file: worker,
    find: `  Atomics.add(words, base + counts + vector, 1);
  Atomics.or(words, word, bit); // pairs with the exchange in InterruptPageClient.take
`,
    replace: `  Atomics.or(words, word, bit);
  Atomics.add(words, base + counts + vector, 1);
`,
  },
  countIsNoExchange: {
    name: 'count-is-no-exchange',
    file: client,
    find: '      const count = Atomics.exchange(words, counts + vector, 0);\n',
    replace:
      '      const count = Atomics.load(words, counts + vector);\n      Atomics.store(words, counts + vector, 0);\n',
  },
} as const satisfies Record<string, Mutant>;

const BOUND = { preemptions: 3 };

describe('interrupts by a page of shared memory', () => {
  it('arrive once each, by the page or by the eventfd, when the thread goes to rest', () => holds(rest, BOUND));
  it('wake a thread that sleeps on the page', () => holds(asleep, BOUND));
  it('wake a vCPU in WFI, as news do', () => holds(wakened, BOUND));
  it('arrive once each when the page is taken away', () => holds(revoked, BOUND));
  it('arrive once each when the page comes to a thread that looks already', () => holds(late, BOUND));
  it('signal the eventfd when the thread has died', () => holds(death, BOUND));
});

describe('seeded bugs of interrupt pages', () => {
  it.each([
    { mutant: mutants.noLookAfterPosting, scenario: rest },
    { mutant: mutants.noLookAfterPosting, scenario: asleep, kind: 'deadlock' },
    { mutant: mutants.nobodyIsWoken, scenario: asleep, kind: 'deadlock' },
    { mutant: mutants.looksBeforeItSleeps, scenario: asleep, kind: 'deadlock' },
    { mutant: mutants.newsWithoutFutex, scenario: wakened, kind: 'deadlock' },
    { mutant: mutants.outsideUnsaid, scenario: wakened, kind: 'deadlock' },
    { mutant: mutants.signalsWhatIsTaken, scenario: rest },
    { mutant: mutants.awayIsTaken, scenario: late },
    { mutant: mutants.countAfterTheBit, scenario: rest },
    { mutant: mutants.countIsNoExchange, scenario: rest },
  ] as const)('$mutant.name is found and replayed', ({ mutant, scenario, ...expected }) =>
    findsMutant(scenario, mutant, 'kind' in expected ? expected.kind : 'check', BOUND),
  );
});
