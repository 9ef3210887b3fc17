import { setImmediate as round } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { Attention } from '../../../../iommu/kernel/core/attention.ts';
import type { Bells } from '../../../../iommu/kernel/core/bells.ts';
import { OWN_CALLS, type RingingDoor, type Served } from '../../../../iommu/kernel/core/door.ts';
import { Rest } from '../../../../iommu/kernel/core/rest.ts';
import { dueIn, nextRound } from '../../../../platform/next-round.ts';

/** What happens, in order. */
let history: string[];

class TestDoor implements RingingDoor {
  pace = { ...OWN_CALLS, patienceMs: 0 };
  calls = 0;
  inTurn = (work: () => void): void => work();

  letRing = (): never => {
    throw new Error('TestBells arm it');
  };

  serve(): Served {
    if (this.calls === 0) return 'nothing';
    this.calls--;
    history.push('call');
    return 'done';
  }

  setAttentive(): void {}
}

/** Bells without a ring. A sleep ends at once. */
class TestBells implements Pick<Bells, keyof Bells> {
  readonly doors = new Set<RingingDoor>();
  rung: RingingDoor[] = [];
  /** Called in each sleep. */
  onSleep = (): void => {};
  get empty(): boolean {
    return this.doors.size === 0;
  }
  has = (door: object): door is RingingDoor => this.doors.has(door as RingingDoor);
  add(door: RingingDoor): void {
    this.doors.add(door);
  }
  remove(door: RingingDoor): void {
    this.doors.delete(door);
  }
  arm(): void {
    history.push('armed');
  }
  any(): boolean {
    return this.rung.length > 0;
  }
  take(): readonly RingingDoor[] {
    return this.rung.splice(0);
  }
  wait(ms: number): void {
    history.push(`sleep of ${Math.ceil(ms)} ms`);
    this.onSleep();
  }
  close(): void {}
}

let bells: TestBells;
let rest: Rest;
let door: TestDoor;
beforeEach(() => {
  history = [];
  bells = new TestBells();
  rest = new Rest(bells as unknown as Bells, new Attention());
  door = new TestDoor();
});
afterEach(async () => {
  rest.remove(door);
  await round();
});

/** Until the thread has slept so often. */
async function untilSlept(times: number): Promise<void> {
  const slept = (): number => history.filter((what) => what.startsWith('sleep')).length;
  while (slept() < times) await round();
}

describe("the kernel's thread", () => {
  it('sleeps with the bells when the event loop has nothing to do, again and again', async () => {
    rest.add(door);
    await untilSlept(2);

    expect(history).toEqual(['sleep of 1000 ms', 'sleep of 1000 ms']);
  });

  it('does not sleep while work waits for the event loop', async () => {
    let left = 20;
    const work = (): void => {
      history.push('work');
      if (--left > 0) nextRound(work);
    };
    rest.add(door);
    nextRound(work);
    await untilSlept(1);

    expect(history).toEqual([...Array(20).fill('work'), 'sleep of 1000 ms']);
  });

  it('sleeps no longer than until the next deadline', async () => {
    const cancel = dueIn(500, () => {});
    rest.add(door);
    await untilSlept(1);
    cancel();

    expect(Number(/\d+/.exec(history[0]!)![0])).toBeLessThanOrEqual(500);
  });

  it('serves the call of a client that rings, and then waits for its bell again', async () => {
    bells.onSleep = () => {
      bells.onSleep = () => {};
      door.calls = 1;
      bells.rung.push(door);
    };
    rest.add(door);
    await untilSlept(2);

    expect(history[1]).toBe('call');
    expect(history.slice(2, -1)).toContain('armed');
  });

  it('hears bells while it is awake, too', async () => {
    let left = 3;
    const work = (): void => {
      door.calls = 1;
      bells.rung.push(door);
      history.push('work');
      if (--left > 0) nextRound(work);
    };
    rest.add(door);
    nextRound(work);
    await untilSlept(1);

    expect(history.filter((what) => what !== 'armed')).toEqual([
      ...['work', 'call', 'work', 'call', 'work', 'call'],
      'sleep of 1000 ms',
    ]);
  });

  it('serves a client whose process has had its time in the next turn of that', async () => {
    door.inTurn = (work) => nextRound(work);
    let left = 3;
    const work = (): void => {
      history.push('work');
      if (--left > 0) nextRound(work);
    };
    bells.onSleep = () => {
      bells.onSleep = () => {};
      door.calls = 1;
      bells.rung.push(door);
      nextRound(work);
    };
    rest.add(door);
    await untilSlept(2);

    expect(history.filter((what) => what === 'call' || what === 'work')).toEqual(['work', 'call', 'work', 'work']);
  });

  it('does nothing for a client that goes before its turn', async () => {
    door.inTurn = (work) => nextRound(work);
    bells.onSleep = () => {
      bells.onSleep = () => {};
      door.calls = 1;
      bells.rung.push(door);
      nextRound(() => rest.remove(door));
    };
    const other = new TestDoor();
    rest.add(other);
    rest.add(door);
    await untilSlept(2);
    rest.remove(other);

    expect(history.filter((what) => !what.startsWith('sleep'))).toEqual([]);
  });

  it('stays in the event loop when the last door has gone', async () => {
    rest.add(door);
    await untilSlept(1);
    rest.remove(door);
    const { length } = history;
    for (let i = 0; i < 6; i++) await round();

    expect(history.length).toBe(length);
  });
});
