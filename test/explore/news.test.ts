import { afterAll, describe, it } from 'vitest';
import { stopActors } from './actors.ts';
import { findsMutant, holds } from './expectations.ts';
import { frames } from './news.scenario.ts';
import type { Mutant } from './scenario.ts';

afterAll(stopActors);

const mutants = {
  ringBeforeNews: {
    name: 'ring-before-the-news',
    file: 'devices/kit/control.ts',
    find: `    Atomics.store(this.#words, Control.word.news, 1); // before the ring; pairs with the exchange in takeNews
    ringBell(mailbox);
`,
    replace: `    ringBell(mailbox);
    Atomics.store(this.#words, Control.word.news, 1);
`,
  },
  edgesAfterTheNews: {
    name: 'edges-taken-after-the-news',
    file: 'devices/board/news/watch.ts',
    find: `      epollWait(news, 0);
      tell.get(news)?.();
`,
    replace: `      tell.get(news)?.();
      epollWait(news, 0);
`,
  },
  newsTakenAfterTheWork: {
    name: 'news-taken-after-the-work',
    file: 'devices/virtio/function.ts',
    find: '    return this.#notified === 0 ? this.#nextLook() : 0;',
    replace: '    this.#bus.control.takeNews();\n    return this.#notified === 0 ? this.#nextLook() : 0;',
  },
} as const satisfies Record<string, Mutant>;

describe('news of a socket behind a device', () => {
  it('reaches the device, whatever else wakes it', () => holds(frames, { preemptions: 1 }));
  it('does so in random schedules', () => holds(frames, { seed: 1, executions: 500 }));
});

describe('seeded bugs of the news', () => {
  it.each([
    { mutant: mutants.ringBeforeNews },
    { mutant: mutants.edgesAfterTheNews },
    { mutant: mutants.newsTakenAfterTheWork },
  ] as const)('$mutant.name is found and replayed', ({ mutant }) => findsMutant(frames, mutant, 'check'));
});
