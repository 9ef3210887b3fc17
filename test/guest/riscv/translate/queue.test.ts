import { describe, expect, it } from 'vitest';

import { type Made, Queue, type Wanted } from '../../../../guest/riscv/translate/queue.ts';
import type { Region } from '../../../../guest/riscv/translate/region.ts';

const BATCH = 8;
const BATCH_BYTES = 16_384;

/** A queue, and what it has done; a region is its pc here. */
function queueOf({ bytes = 100, skips = -1, hasMemory = true } = {}) {
  const done: string[] = [];
  const pcOf = (region: Region): number => region as unknown as number;
  const queue = new Queue({
    make({ pc }) {
      done.push(`make ${pc}`);
      return pc === skips ? undefined : ({ region: pc, body: { code: { length: bytes } } } as unknown as Made);
    },
    compile(made) {
      done.push(`compile ${made.map(({ region }) => pcOf(region)).join(' ')}`);
      return hasMemory;
    },
    show: (region) => void done.push(`show ${pcOf(region)}`),
  });
  const want = (pc: number): void => queue.want({ line: pc, pc } as Wanted);
  /** What each of so many steps does. */
  const steps = (count: number): string[] =>
    Array.from({ length: count }, () => {
      const before = done.length;
      queue.step();
      return done.slice(before).join(', ');
    });
  return { queue, want, steps };
}

describe('hot code on its way to a translation', () => {
  it('waits for more, until it is urgent', () => {
    const { queue, want, steps } = queueOf();
    want(1);
    expect([queue.isDue, queue.waits(1), queue.waits(2), steps(1)]).toEqual([false, true, false, ['']]);
    queue.hurry();
    expect([queue.isDue, queue.waits(1)]).toEqual([true, false]);
  });

  it('does one thing in a step: makes a region, compiles, or shows one', () => {
    const { queue, want, steps } = queueOf();
    want(1);
    want(2);
    queue.hurry();
    expect(steps(5)).toEqual(['make 1', 'make 2', 'compile 1 2', 'show 1', 'show 2']);
    expect([queue.isDue, steps(1)]).toEqual([false, ['']]);
  });

  it('is busy with a cache line until its region is shown, or there is none', () => {
    const { queue, want, steps } = queueOf({ skips: 2 });
    want(1);
    want(2);
    const busy = () => [queue.isBusyWith(1), queue.isBusyWith(2)];
    expect(busy()).toEqual([false, false]);
    queue.hurry();
    const after = Array.from({ length: 4 }, () => [...steps(1), ...busy()]);
    expect(after).toEqual([
      ['make 1', true, true],
      ['make 2', true, false],
      ['compile 1', true, false],
      ['show 1', false, false],
    ]);
  });

  it('is due in batches, and a module has one batch', () => {
    const { queue, want, steps } = queueOf();
    for (let pc = 1; pc <= BATCH; pc++) want(pc);
    expect(queue.isDue).toBe(true);
    want(99);
    queue.hurry();
    expect(steps(BATCH + 1).at(-1)).toBe('compile 1 2 3 4 5 6 7 8');
    expect(steps(BATCH + 2).slice(-2)).toEqual(['make 99', 'compile 99']);
  });

  it('makes a smaller module of large regions', () => {
    const { queue, want, steps } = queueOf({ bytes: BATCH_BYTES });
    want(1);
    want(2);
    queue.hurry();
    expect(steps(6)).toEqual(['make 1', 'compile 1', 'show 1', 'make 2', 'compile 2', 'show 2']);
  });

  it('leaves out what needs no region', () => {
    const { queue, want, steps } = queueOf({ skips: 1 });
    want(1);
    want(2);
    queue.hurry();
    expect(steps(4)).toEqual(['make 1', 'make 2', 'compile 2', 'show 2']);
  });

  it('shows nothing without memory for code', () => {
    const { queue, want, steps } = queueOf({ hasMemory: false });
    want(1);
    queue.hurry();
    expect([steps(3), queue.isDue, queue.isBusyWith(1)]).toEqual([['make 1', 'compile 1', ''], false, false]);
  });

  it.each([0, 1, 2, 3])('is forgotten after %i steps when all translations are dropped', (count) => {
    const { queue, want, steps } = queueOf();
    want(1);
    want(2);
    queue.hurry();
    want(3);
    steps(count);
    queue.clear();
    expect([queue.isDue, queue.waits(3), steps(1)]).toEqual([false, false, ['']]);
  });
});
