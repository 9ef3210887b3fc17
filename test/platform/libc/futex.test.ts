import { once } from 'node:events';

import { describe, expect, it } from 'vitest';

import { monotonicNs } from '../../../platform/clock.ts';
import { futexWait, futexWaitAny, futexWake, hasFutexWaitAny } from '../../../platform/libc/futex.ts';
import { startWorker } from '../../../platform/thread.ts';
import type { FutexSleeperData } from './futex-sleeper.ts';

describe.skipIf(!hasFutexWaitAny())('a sleep on several words', () => {
  it.each([
    [0, 'first'],
    [1, 'second'],
  ])('ends when word %d is woken', async (index, what) => {
    const memory = new SharedArrayBuffer(12);
    const words = new Int32Array(memory);
    const data: FutexSleeperData = { memory, timeoutMs: 600_000 };
    const sleeper = startWorker('test/platform/libc/futex-sleeper', data, { name: 'sleeper' });
    const told = once(sleeper, 'message');
    Atomics.wait(words, 2, 0, 30_000); // woken by the sleeper
    Atomics.wait(words, 2, 1, 50); // let it fall asleep; it may be late, and finds the word changed

    Atomics.add(words, index, 1);
    futexWake({ words, index, shared: index === 1 });

    expect(await told).toEqual([what]);
  });

  it('does not begin when a word is another one already', () => {
    const words = new Int32Array(new SharedArrayBuffer(8));
    words[1] = 5;

    const start = monotonicNs();
    futexWaitAny(
      [
        { words, index: 0, shared: false, seen: 0 },
        { words, index: 1, shared: false, seen: 4 },
      ],
      600_000,
    );

    expect(monotonicNs() - start).toBeLessThan(300e9);
  });

  it('ends after its time, which may be a part of a millisecond', () => {
    const words = new Int32Array(new SharedArrayBuffer(4));

    const start = monotonicNs();
    futexWaitAny([{ words, index: 0, shared: false, seen: 0 }], 0.25);

    expect(monotonicNs() - start).toBeGreaterThanOrEqual(0.25e6);
  });
});

describe('a sleep on one word', () => {
  const words = new Int32Array(new SharedArrayBuffer(4));
  words[0] = -3;

  it('does not begin when the word is another one already', () => {
    const start = monotonicNs();
    futexWait({ words, index: 0, shared: true, seen: 3 }, 600_000);

    expect(monotonicNs() - start).toBeLessThan(60e9);
  });

  it('ends after its time', () => {
    const start = monotonicNs();
    futexWait({ words, index: 0, shared: true, seen: -3 }, 20);

    expect(monotonicNs() - start).toBeGreaterThan(5e6); // a signal may end it earlier
  });
});
