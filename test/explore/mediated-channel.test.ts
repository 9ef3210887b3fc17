import { afterAll, describe, it } from 'vitest';
import { stopActors } from './actors.ts';
import { findsMutant, holds } from './expectations.ts';
import { accesses, registersWhileAsleep, stopWhileAsleep } from './mediated-channel.scenario.ts';
import type { Mutant } from './scenario.ts';

afterAll(stopActors);

const channel = 'iommu/bus/mediated-channel.ts';
const dma = 'devices/kit/mediated-dma.ts';

const mutants = {
  postedBeforeTheRequest: {
    name: 'posted-before-the-request',
    file: channel,
    find: `    const words = this.#words;
    words[Channel.word.op] = op;
`,
    replace: `    const words = this.#words;
    Atomics.store(words, Channel.word.posted, this.#number + 1);
    words[Channel.word.op] = op;
`,
  },
  doneBeforeTheAnswer: {
    name: 'done-before-the-answer',
    file: channel,
    find: `    words[Channel.word.refused] = refused;
    // pairs with the load in ChannelRequester.answered
    Atomics.store(words, Channel.word.done, words[Channel.word.posted]!);
`,
    replace: `    Atomics.store(words, Channel.word.done, words[Channel.word.posted]!);
    words[Channel.word.refused] = refused;
`,
  },
  noRing: {
    name: 'answer-without-a-ring',
    file: channel,
    find: '    ringBell(this.#mailbox);\n',
    replace: '',
  },
  ringBeforeDone: {
    name: 'ring-before-done',
    file: channel,
    find: `    Atomics.store(words, Channel.word.done, words[Channel.word.posted]!);
    ringBell(this.#mailbox);
`,
    replace: `    ringBell(this.#mailbox);
    Atomics.store(words, Channel.word.done, words[Channel.word.posted]!);
`,
  },
  toldBeforePosted: {
    name: 'told-before-posted',
    file: dma,
    find: `    this.#requester.post(request);
    tell();
`,
    replace: `    tell();
    this.#requester.post(request);
`,
  },
  bellAfterTheLook: {
    name: 'bell-looked-at-after-the-answer',
    file: dma,
    find: 'this.#server.wait(seen, MAX_SLEEP_MS);',
    replace: 'this.#server.wait(this.#server.bell(), MAX_SLEEP_MS);',
  },
  registersDoNotAnswer: {
    name: 'registers-do-not-answer',
    file: dma,
    find: '      serve();\n',
    replace: '',
  },
  dataBeforeTheAnswer: {
    name: 'data-taken-before-the-answer',
    file: dma,
    find: '      if (this.#requester.answered()) break;\n',
    replace: '      if (this.#requester.answered() || true) break;\n',
  },
  stopUnheard: {
    name: 'stop-unheard',
    file: dma,
    find: `      if (control.stopping()) return false;
`,
    replace: '',
  },
} as const satisfies Record<string, Mutant>;

describe('the channel of a mediated device', () => {
  it('gives every access its own answer and bytes', () => holds(accesses));
  it('has registers answer while an access sleeps', () => holds(registersWhileAsleep));
  it('lets a device stop in an access that never ends', () => holds(stopWhileAsleep));
  it('does so in random schedules', () => holds(registersWhileAsleep, { seed: 1, executions: 500 }));
});

describe('seeded bugs of the channel', () => {
  it.each([
    { mutant: mutants.postedBeforeTheRequest, scenario: accesses, kind: 'threw' },
    { mutant: mutants.doneBeforeTheAnswer, scenario: accesses, kind: 'threw' },
    { mutant: mutants.noRing, scenario: accesses, kind: 'deadlock' },
    { mutant: mutants.ringBeforeDone, scenario: accesses, kind: 'deadlock' },
    { mutant: mutants.toldBeforePosted, scenario: accesses, kind: 'deadlock' },
    { mutant: mutants.bellAfterTheLook, scenario: accesses, kind: 'deadlock' },
    { mutant: mutants.registersDoNotAnswer, scenario: registersWhileAsleep, kind: 'deadlock' },
    { mutant: mutants.dataBeforeTheAnswer, scenario: accesses, kind: 'threw' },
    { mutant: mutants.stopUnheard, scenario: stopWhileAsleep, kind: 'deadlock' },
  ] as const)('$mutant.name is found and replayed', ({ mutant, scenario, kind }) =>
    findsMutant(scenario, mutant, kind),
  );
});
