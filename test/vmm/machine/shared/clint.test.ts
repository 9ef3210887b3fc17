import { beforeEach, describe, expect, it } from 'vitest';

import { int32s, newPart } from '../../../../platform/shared.ts';
import { controlBytes, hartWords } from '../../../../vmm/machine/control/control-block.ts';
import { Timer } from '../../../../vmm/machine/hart-local/timer.ts';
import { Clint } from '../../../../vmm/machine/shared/clint.ts';
import { Clock, msOf } from '../../../../vmm/machine/shared/clock.ts';

const MIP = hartWords(0).lines;
const MTIP = 1 << 7;
const MSIP = 1 << 3;
const MTIMECMP = 0x4000;
const MTIME = 0xbff8;

let nowNs: number;
let lines: Int32Array;
let clock: Clock;
let timer: Timer;
let clint: Clint;
let woken: number[];

/** A CLINT of so many harts, whose words are fresh. */
function newClint(harts = 1): { words: Int32Array; clock: Clock; timers: Timer[]; clint: Clint } {
  const control = newPart(controlBytes(harts));
  const clock = new Clock(control, () => nowNs);
  const timers = Array.from({ length: harts }, (_, hart) => new Timer(control, hart, () => clock.now()));
  const clint = new Clint({ clock, timers, wake: (hart) => woken.push(hart) });
  return { words: int32s(control), clock, timers, clint };
}

beforeEach(() => {
  nowNs = 5_000_000;
  woken = [];
  const fresh = newClint();
  ({ words: lines, clock, clint } = fresh);
  timer = fresh.timers[0]!;
});

/** docs/machine.md, "CLINT"; the register cases are those of the recorded virt-platform.qtest. */
describe('CLINT', () => {
  it('keeps only bit 0 of msip, drives MSIP with it, and has no other harts', () => {
    clint.store(0, 4, 0xffff_ffffn, 0);
    expect(clint.load(0, 4)).toBe(1n);
    expect(lines[MIP]! & MSIP).toBe(MSIP);
    clint.store(0, 4, 0n, 0);
    expect(clint.load(0, 4)).toBe(0n);
    expect(lines[MIP]! & MSIP).toBe(0);
    clint.store(8, 4, 1n, 0);
    expect(clint.load(8, 4)).toBe(0n);
  });

  it('takes the halves of mtimecmp one by one', () => {
    expect(clint.load(MTIMECMP, 8)).toBe(0n);
    clint.store(MTIMECMP, 8, 0x1234_5678_9abc_def0n, 0);
    expect(clint.load(MTIMECMP, 8)).toBe(0x1234_5678_9abc_def0n);
    clint.store(MTIMECMP, 4, 1n, 0);
    expect(clint.load(MTIMECMP, 8)).toBe(0x1234_5678_0000_0001n);
    clint.store(MTIMECMP + 4, 4, 2n, 0);
    expect(clint.load(MTIMECMP, 8)).toBe(0x2_0000_0001n);
    expect(clint.load(MTIMECMP + 4, 4)).toBe(2n);
  });

  it('lets mtime be written while the machine stands', () => {
    clint.store(MTIME, 8, 0x1122_3344_5566_7788n, 0);
    expect(clint.load(MTIME, 8)).toBe(0x1122_3344_5566_7788n);
    expect(clint.load(MTIME + 4, 4)).toBe(0x1122_3344n);
  });

  it('counts 10 MHz of monotonic time while the machine runs, and none while it is stopped', () => {
    clock.start();
    nowNs += 1_000_000;
    expect(clock.now()).toBe(10_000n);
    clock.stop();
    nowNs += 80_000_000;
    expect(clock.now()).toBe(10_000n);
    clock.start();
    nowNs += 100;
    expect(clock.now()).toBe(10_001n);
  });

  it('raises MTIP when mtime reaches mtimecmp, says how long that takes, and lowers it with a later mtimecmp', () => {
    clock.start();
    clint.store(MTIMECMP, 8, 20_000n, 0);
    expect(lines[MIP]! & MTIP).toBe(0);
    expect(msOf(timer.ticksLeft(undefined)!)).toBe(2);
    nowNs += 2_000_000;
    timer.update();
    expect(lines[MIP]! & MTIP).toBe(MTIP);
    expect(timer.ticksLeft(undefined)).toBeUndefined();
    expect(timer.ticksLeft(clock.now() + 7n)).toBe(7n);
    clint.store(MTIMECMP, 8, 30_000n, 0);
    expect(lines[MIP]! & MTIP).toBe(0);
  });

  it('refuses accesses of less than a word', () => {
    expect(clint.load(0, 1)).toBeUndefined();
    expect(clint.store(MTIME, 2, 0n, 0)).toBe(false);
  });

  it('goes on from a saved state: time, timer and lines', () => {
    clock.start();
    clint.store(MTIMECMP, 8, 15_000n, 0);
    clint.store(0, 4, 1n, 0);
    nowNs += 1_000_000;
    clock.stop();
    const state = structuredClone(clint.save(0));

    const { words: freshLines, clock: freshClock, timers, clint: fresh } = newClint();
    fresh.restore(0, state);
    nowNs += 70_000_000;
    freshClock.start();
    expect(freshClock.now()).toBe(10_000n);
    expect(freshLines[MIP]).toBe(MSIP);
    nowNs += 500_000;
    timers[0]!.update();
    expect(freshLines[MIP]).toBe(MSIP | MTIP);
  });
});

describe('the CLINT of two harts', () => {
  const second = { msip: 4, mtimecmp: MTIMECMP + 8, lines: hartWords(1).lines };

  it('drives the lines of the hart whose register is stored to, and wakes it unless it stores itself', () => {
    const { words, clint } = newClint(2);
    clint.reset();
    clint.store(second.msip, 4, 1n, 0);
    expect([words[MIP]! & MSIP, words[second.lines]! & MSIP, woken]).toEqual([0, MSIP, [1]]);
    expect([clint.load(0, 4), clint.load(second.msip, 4)]).toEqual([0n, 1n]);
    clint.store(second.msip, 4, 0n, 1);
    expect([words[second.lines]! & MSIP, woken]).toEqual([0, [1]]);
  });

  it('compares one clock with the mtimecmp of each', () => {
    const { words, clock, timers, clint } = newClint(2);
    clock.start();
    clint.store(MTIMECMP, 8, 100n, 0);
    clint.store(second.mtimecmp, 8, 200n, 0);
    expect(woken).toEqual([1]);
    nowNs += 10_000;
    for (const timer of timers) timer.update();
    expect([words[MIP]! & MTIP, words[second.lines]! & MTIP]).toEqual([MTIP, 0]);
    expect([timers[0]!.ticksLeft(undefined), timers[1]!.ticksLeft(undefined)]).toEqual([undefined, 100n]);
  });

  it('moves the timers of both when mtime is stored to', () => {
    const { words, clint } = newClint(2);
    clint.store(MTIMECMP, 8, 100n, 0);
    clint.store(second.mtimecmp, 8, 100n, 1);
    clint.store(MTIME, 8, 100n, 1);
    expect([words[MIP]! & MTIP, words[second.lines]! & MTIP, woken]).toEqual([MTIP, MTIP, [0]]);
  });
});
