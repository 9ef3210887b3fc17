import { afterAll, describe, it } from 'vitest';
import { stopActors } from './actors.ts';
import { findsMutant, holds } from './expectations.ts';
import {
  accesses,
  accessesThatRing,
  accessesWhileItLooks,
  registersWhileAsleep,
  stopWhileAsleep,
} from './mediated-channel.scenario.ts';
import type { Mutant } from './scenario.ts';

afterAll(stopActors);

const channel = 'iommu/bus/mediated-channel.ts';
const bell = 'iommu/abi/bell.ts';
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
    find: `    const kernelLooks = this.#requester.post(request);
    if (!kernelLooks) tell();
`,
    replace: `    tell();
    const kernelLooks = this.#requester.post(request);
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
  attentionSeenBeforePosted: {
    name: 'attention-seen-before-the-request-is-posted',
    file: channel,
    find: `    Atomics.store(words, Channel.word.posted, this.#number);
    return this.#bell.ring() !== AWAY;
`,
    replace: `    const looks = this.#bell.ring() !== AWAY;
    Atomics.store(words, Channel.word.posted, this.#number);
    return looks;
`,
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
  bellHeardAfterTheWord: {
    name: 'bell-heard-after-the-word',
    file: bell,
    find: 'return { words, index, shared: this.#shared, seen };',
    replace: 'return { words, index, shared: this.#shared, seen: Atomics.load(words, index) };',
  },
  noLastLook: {
    name: 'no-look-after-the-attention',
    file: 'iommu/kernel/mdev/device-accesses.ts',
    find: `    if (!on) this.serve(); // the last look: nobody tells of what was posted before
`,
    replace: '',
  },
  lastLookTooEarly: {
    name: 'last-look-while-attentive',
    file: 'iommu/kernel/mdev/device-accesses.ts',
    find: `    this.#channel.setAttentive(on);
    if (!on) this.serve(); // the last look: nobody tells of what was posted before
`,
    replace: `    if (!on) this.serve();
    this.#channel.setAttentive(on);
`,
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
  it('loses no request when the kernel looks, and when it ceases to look', () => holds(accessesWhileItLooks));
  it('loses no request when the device rings', () => holds(accessesThatRing));
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
    { mutant: mutants.attentionSeenBeforePosted, scenario: accessesWhileItLooks, kind: 'deadlock' },
    { mutant: mutants.attentionSeenBeforePosted, scenario: accessesThatRing, kind: 'deadlock' },
    { mutant: mutants.bellThatWakesNobody, scenario: accessesThatRing, kind: 'deadlock' },
    { mutant: mutants.bellThatDoesNotCount, scenario: accessesThatRing, kind: 'deadlock' },
    { mutant: mutants.bellHeardAfterTheWord, scenario: accessesThatRing, kind: 'deadlock' },
    { mutant: mutants.noLastLook, scenario: accessesWhileItLooks, kind: 'deadlock' },
    { mutant: mutants.lastLookTooEarly, scenario: accessesWhileItLooks, kind: 'deadlock' },
    { mutant: mutants.stopUnheard, scenario: stopWhileAsleep, kind: 'deadlock' },
  ] as const)('$mutant.name is found and replayed', ({ mutant, scenario, kind }) =>
    findsMutant(scenario, mutant, kind),
  );
});
