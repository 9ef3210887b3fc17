import { beforeEach, describe, expect, it } from 'vitest';

import { InstructionClock } from '../../../../vmm/machine/shared/instruction-clock.ts';

const SHIFT = 4; // 16 ns
let clock: InstructionClock;
let hart: { begun: number };

beforeEach(() => {
  clock = new InstructionClock(SHIFT);
  hart = { begun: 1000 };
});

describe('a clock of instructions', () => {
  it('counts those of the hart that runs, also while it runs', () => {
    clock.begin(hart);
    hart.begun += 100;
    const running = [clock.now(), clock.ns];
    hart.begun += 5;
    expect([...running, clock.end(), clock.now(), clock.ns]).toEqual([16n, 1600n, 105, 16n, 1680n]);
  });

  it('keeps the parts of a tick, from hart to hart', () => {
    for (let slice = 0; slice < 100; slice++) {
      clock.begin(hart);
      hart.begun += 1;
      clock.end();
    }
    expect([clock.now(), clock.ns]).toEqual([16n, 1600n]);
  });

  it('lets mtime be set in the midst of a slice; the time since power-on goes on', () => {
    clock.begin(hart);
    hart.begun += 10;
    clock.set(2n ** 64n - 1n);
    hart.begun += 5;
    expect([clock.now(), clock.end(), clock.now(), clock.ns]).toEqual([0n, 15, 0n, 240n]);
  });

  it('says how far a moment is away', () => {
    clock.begin(hart);
    hart.begun += 3;
    const ns = clock.nsUntil(2n);
    expect([ns, clock.instructionsIn(ns), clock.nsUntil(0n), clock.instructionsIn(0)]).toEqual([152, 10, -48, 1]);
  });

  it('comes to exactly that moment, in one step or in several', () => {
    clock.advance(33.7);
    clock.advance(clock.nsUntil(2n ** 40n));
    expect([clock.now(), clock.nsUntil(2n ** 40n)]).toEqual([2n ** 40n, 0]);
  });

  it('goes on from what was saved', () => {
    clock.advance(12_345);
    const next = new InstructionClock(SHIFT);
    next.set(clock.now());
    next.restore(clock.ns);
    next.advance(55);
    clock.advance(55);
    expect([next.now(), next.ns]).toEqual([clock.now(), clock.ns]);
  });
});
