import { describe, expect, it } from 'vitest';

import { othersServed, runSliced, runWhole, type Sliced } from '../../platform/slices.ts';

function* steps(log: string[], name: string, count: number): Sliced<string> {
  for (let i = 1; i <= count; i++) {
    log.push(`${name}${i}`);
    yield;
  }
  return name;
}

describe('work in slices', () => {
  it('that fits into one is done when the call returns', () => {
    expect(runSliced(steps([], 'a', 3), { sliceMs: Number.POSITIVE_INFINITY })).toBe('a');
    expect(runWhole(steps([], 'a', 3))).toBe('a');
  });

  it('of several takes turns, and the event loop goes round between any two slices', async () => {
    const log: string[] = [];
    let rounds = 0;
    const turn = (): void => {
      rounds++;
      if (rounds < 20) setImmediate(turn);
    };
    setImmediate(turn);
    const all = [runSliced(steps(log, 'a', 3), { sliceMs: 0 }), runSliced(steps(log, 'b', 3), { sliceMs: 0 })];
    expect(await Promise.all(all)).toEqual(['a', 'b']);
    expect(log).toEqual(['a1', 'b1', 'a2', 'b2', 'a3', 'b3']);
    expect(rounds).toBeGreaterThanOrEqual(5);
  });

  it('fails as it would in one go, in the first slice and in a later one', async () => {
    function* failing(after: number): Sliced<void> {
      for (let i = 0; i < after; i++) yield;
      throw new Error('broken');
    }
    expect(() => runSliced(failing(0), { sliceMs: 0 })).toThrow('broken');
    await expect(runSliced(failing(2), { sliceMs: 0 })).rejects.toThrow('broken');
  });

  it('tells of each slice but the first', async () => {
    const log: string[] = [];
    const options = { sliceMs: 0, resume: () => log.push('<'), pause: () => log.push('>') };
    await runSliced(steps(log, 'a', 2), options);
    expect(log.join('')).toBe('a1<a2><>');
  });

  it('is of one owner after the other, however much one of them has', async () => {
    const log: string[] = [];
    const of = (owner: number, name: string) => runSliced(steps(log, name, 3), { sliceMs: 0, owner });

    await Promise.all([of(1, 'a'), of(1, 'b'), of(1, 'c'), of(2, 'x')]);

    // The first slice of each is its caller's; then the two owners take turns, and what the first
    // one has takes turns, too.
    expect(log).toEqual(['a1', 'b1', 'c1', 'x1', 'a2', 'x2', 'b2', 'x3', 'c2', 'a3', 'b3', 'c3']);
  });

  it('waits its turn with a promise, too', async () => {
    const log: string[] = [];
    const sliced = runSliced(steps(log, 'a', 2), { sliceMs: 0 });
    const other = othersServed().then(() => log.push('other'));
    await Promise.all([sliced, other]);
    expect(log).toEqual(['a1', 'a2', 'other']);
  });
});
