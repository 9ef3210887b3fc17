import { beforeEach, describe, expect, it } from 'vitest';

import { Clint } from '../../../../vmm/machine/shared/clint.ts';

const MTIP = 1 << 7;
const MSIP = 1 << 3;
const MTIMECMP = 0x4000;
const MTIME = 0xbff8;

let lines: Int32Array;
let nowNs: number;
let clint: Clint;

beforeEach(() => {
  lines = new Int32Array(new SharedArrayBuffer(4));
  nowNs = 5_000_000;
  clint = new Clint(lines, 0, () => nowNs);
});

/** docs/machine.md, "CLINT"; the register cases are those of the recorded virt-platform.qtest. */
describe('CLINT', () => {
  it('keeps only bit 0 of msip, drives MSIP with it, and has no other harts', () => {
    clint.store(0, 4, 0xffff_ffffn);
    expect(clint.load(0, 4)).toBe(1n);
    expect(lines[0]! & MSIP).toBe(MSIP);
    clint.store(0, 4, 0n);
    expect(clint.load(0, 4)).toBe(0n);
    expect(lines[0]! & MSIP).toBe(0);
    clint.store(8, 4, 1n);
    expect(clint.load(8, 4)).toBe(0n);
  });

  it('takes the halves of mtimecmp one by one', () => {
    expect(clint.load(MTIMECMP, 8)).toBe(0n);
    clint.store(MTIMECMP, 8, 0x1234_5678_9abc_def0n);
    expect(clint.load(MTIMECMP, 8)).toBe(0x1234_5678_9abc_def0n);
    clint.store(MTIMECMP, 4, 1n);
    expect(clint.load(MTIMECMP, 8)).toBe(0x1234_5678_0000_0001n);
    clint.store(MTIMECMP + 4, 4, 2n);
    expect(clint.load(MTIMECMP, 8)).toBe(0x2_0000_0001n);
    expect(clint.load(MTIMECMP + 4, 4)).toBe(2n);
  });

  it('lets mtime be written while the machine stands', () => {
    clint.store(MTIME, 8, 0x1122_3344_5566_7788n);
    expect(clint.load(MTIME, 8)).toBe(0x1122_3344_5566_7788n);
    expect(clint.load(MTIME + 4, 4)).toBe(0x1122_3344n);
  });

  it('counts 10 MHz of monotonic time while the machine runs, and none while it is stopped', () => {
    clint.start();
    nowNs += 1_000_000;
    expect(clint.mtime()).toBe(10_000n);
    clint.stop();
    nowNs += 80_000_000;
    expect(clint.mtime()).toBe(10_000n);
    clint.start();
    nowNs += 100;
    expect(clint.mtime()).toBe(10_001n);
  });

  it('raises MTIP when mtime reaches mtimecmp, says how long that takes, and lowers it with a later mtimecmp', () => {
    clint.start();
    clint.store(MTIMECMP, 8, 20_000n);
    expect(lines[0]! & MTIP).toBe(0);
    expect(clint.msToTimer()).toBe(2);
    nowNs += 2_000_000;
    clint.update();
    expect(lines[0]! & MTIP).toBe(MTIP);
    expect(clint.msToTimer()).toBe(Number.POSITIVE_INFINITY);
    clint.store(MTIMECMP, 8, 30_000n);
    expect(lines[0]! & MTIP).toBe(0);
  });

  it('refuses accesses of less than a word', () => {
    expect(clint.load(0, 1)).toBeUndefined();
    expect(clint.store(MTIME, 2, 0n)).toBe(false);
  });

  it('goes on from a saved state: time, timer and lines', () => {
    clint.start();
    clint.store(MTIMECMP, 8, 15_000n);
    clint.store(0, 4, 1n);
    nowNs += 1_000_000;
    clint.stop();
    const state = structuredClone(clint.save());

    const freshLines = new Int32Array(new SharedArrayBuffer(4));
    const fresh = new Clint(freshLines, 0, () => nowNs);
    fresh.restore(state);
    nowNs += 70_000_000;
    fresh.start();
    expect(fresh.mtime()).toBe(10_000n);
    expect(freshLines[0]).toBe(MSIP);
    nowNs += 500_000;
    fresh.update();
    expect(freshLines[0]).toBe(MSIP | MTIP);
  });
});
