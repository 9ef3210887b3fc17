import { afterAll, describe, it } from 'vitest';
import { stopActors } from './actors.ts';
import { findsMutant, holds } from './expectations.ts';
import { eachOther, endedServer, givenUp, unmapAgainstPeer } from './peer-cycles.scenario.ts';
import type { Mutant } from './scenario.ts';

afterAll(stopActors);

const file = 'iommu/bus/peer-cycles.ts';

const mutants = {
  noServiceWhileWaiting: {
    name: 'no-service-while-waiting',
    file,
    find: '      serve();\n      const left',
    replace: '      const left',
  },
  noRingWhenDone: {
    name: 'no-ring-when-done',
    file,
    find: '      if (bell) ringBell(bell);\n',
    replace: '',
  },
  bellLoadedAfterTheLook: {
    name: 'bell-loaded-after-the-look',
    file,
    find: 'this.#own.wait(seen, givesUp',
    replace: 'this.#own.wait(this.#own.bell(), givesUp',
  },
  bitSetBeforePosted: {
    name: 'bit-set-before-posted',
    file,
    find: `    Atomics.store(words, state, POSTED); // pairs with the exchange in PeerServer.#take
    Atomics.or(words, Box.word.posted, 1 << this.#options.number); // pairs with the exchange in serve
`,
    replace: `    Atomics.or(words, Box.word.posted, 1 << this.#options.number);
    Atomics.store(words, state, POSTED);
`,
  },
  servedThoughGivenUp: {
    name: 'served-though-given-up',
    file,
    find: '    return before === POSTED;\n',
    replace: '    return before !== FREE;\n',
  },
  givenUpWhileServed: {
    name: 'given-up-while-served',
    file,
    find: 'if (givesUp && Atomics.compareExchange(words, state, POSTED, ABANDONED) === POSTED) return false;',
    replace: 'if (givesUp && Atomics.exchange(words, state, ABANDONED) !== FREE) return false;',
  },
  interruptEndsTheTransaction: {
    name: 'interrupt-ends-the-transaction',
    file: 'iommu/hardware/epoch.ts',
    find: '    if (this.#held) return',
    replace: '    if (false) return',
  },
  peersAreNotFencedFor: {
    name: 'peers-are-not-fenced-for',
    file: 'iommu/hardware/epoch.ts',
    find: '    if ((then & BUSY) === 0) continue;\n',
    replace: '    continue;\n',
  },
  servedAccessNotAnswered: {
    name: 'served-access-not-answered',
    file,
    find: 'const served = Atomics.load(words, state) === SERVING;',
    replace: 'const served = false;',
  },
} as const satisfies Record<string, Mutant>;

describe('accesses to the registers of another device', () => {
  it('answer two devices that ask each other', () => holds(eachOther));
  it('are never made once they were given up, and no answer is a stale one', () => holds(givenUp));
  it('are not made when their mapping is gone, whatever interrupts meanwhile (P2P-3)', () =>
    holds(unmapAgainstPeer, { preemptions: 1 }));
  it('end when the worker of the other device does', () => holds(endedServer));
});

describe('seeded bugs of such accesses', () => {
  it.each([
    { mutant: mutants.noServiceWhileWaiting, scenario: eachOther, kind: 'deadlock' },
    { mutant: mutants.noRingWhenDone, scenario: eachOther, kind: 'deadlock' },
    { mutant: mutants.bellLoadedAfterTheLook, scenario: eachOther, kind: 'deadlock' },
    { mutant: mutants.bitSetBeforePosted, scenario: eachOther, kind: 'deadlock' },
    { mutant: mutants.servedThoughGivenUp, scenario: givenUp, kind: 'threw' },
    { mutant: mutants.givenUpWhileServed, scenario: givenUp, kind: 'threw' },
    { mutant: mutants.interruptEndsTheTransaction, scenario: unmapAgainstPeer, kind: 'threw' },
    { mutant: mutants.servedAccessNotAnswered, scenario: endedServer, kind: 'deadlock' },
    { mutant: mutants.peersAreNotFencedFor, scenario: unmapAgainstPeer, kind: 'threw' },
  ] as const)('$mutant.name is found and replayed', ({ mutant, scenario, kind }) =>
    findsMutant(scenario, mutant, kind),
  );
});
