import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { dueIn, msUntilDue, nextRound, roundsPending } from '../../platform/next-round.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setImmediate', 'setTimeout', 'clearTimeout', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

describe('work for the next round of the event loop', () => {
  it('pends until it begins, also work that is begun meanwhile', () => {
    const seen: boolean[] = [];
    nextRound(() => {
      seen.push(roundsPending());
      nextRound(() => seen.push(roundsPending()));
      seen.push(roundsPending());
    });
    seen.push(roundsPending());
    vi.runAllTimers();

    expect([seen, roundsPending()]).toEqual([[true, false, true, false], false]);
  });
});

describe('work that is due later', () => {
  it('is done when it is due, and the first of several is the one that counts', () => {
    const done: string[] = [];
    dueIn(30, () => done.push('late'));
    dueIn(10, () => done.push('early'));
    expect(msUntilDue()).toBe(10);
    vi.advanceTimersByTime(10);
    expect([done, msUntilDue()]).toEqual([['early'], 20]);
    vi.advanceTimersByTime(20);
    expect([done, msUntilDue()]).toEqual([['early', 'late'], Number.POSITIVE_INFINITY]);
  });

  it('is not done once it is cancelled, and not waited for', () => {
    const work = vi.fn();
    dueIn(10, work)();
    vi.advanceTimersByTime(20);

    expect(work).not.toHaveBeenCalled();
    expect(msUntilDue()).toBe(Number.POSITIVE_INFINITY);
  });

  it('is due at once when it is late', () => {
    const cancel = dueIn(10, () => {});
    vi.setSystemTime(0);
    const { now } = performance;
    vi.spyOn(performance, 'now').mockImplementation(() => now.call(performance) + 50);

    expect(msUntilDue()).toBe(0);
    cancel();
  });
});
