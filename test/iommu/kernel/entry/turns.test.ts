import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';

import { Turns } from '../../../../iommu/kernel/entry/turns.ts';

/** More of the thread's time than a turn has. */
function work(): void {
  const end = performance.now() + 1.5;
  while (performance.now() < end);
}

/** What is done, in its order. */
class Log {
  readonly done: string[] = [];
  readonly turns = new Turns();

  ask(pid: number, what: string, long = true): void {
    this.turns.run(pid, () => {
      this.done.push(what);
      if (long) work();
    });
  }
}

describe('turns', () => {
  it('let a call be made at once', () => {
    const log = new Log();

    log.ask(1, 'a');

    expect(log.done).toEqual(['a']);
  });

  it('let a process whose turn is over wait for the next round, and nobody else', async () => {
    const log = new Log();
    log.ask(1, 'a1');

    log.ask(1, 'a2', false);
    log.ask(2, 'b1', false);

    expect(log.done).toEqual(['a1', 'b1']);
    await setImmediate();
    expect(log.done).toEqual(['a1', 'b1', 'a2']);
  });

  it('keep a process’s calls in order, also the short behind the long', async () => {
    const log = new Log();
    for (const name of ['a', 'b', 'c']) log.ask(1, name);

    log.ask(1, 'd', false);

    for (let round = 0; round < 4; round++) await setImmediate();
    expect(log.done).toEqual(['a', 'b', 'c', 'd']);
  });

  it('give each process one turn per round, however much one of them asks for', async () => {
    const log = new Log();
    for (let i = 0; i < 50; i++) log.ask(1, 'greedy');
    log.ask(2, 'first');
    log.ask(2, 'second');
    const before = log.done.length;

    await setImmediate();

    expect([before, log.done.filter((who) => who === 'greedy').length]).toEqual([2, 2]);
    expect(log.done).toContain('second');
  });

  it('let short calls of one process go together', async () => {
    const log = new Log();
    log.ask(1, 'long');
    for (let i = 0; i < 10; i++) log.ask(1, 'short', false);

    await setImmediate();

    expect(log.done).toHaveLength(11);
  });
});
