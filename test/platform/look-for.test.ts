import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { yieldCpu } from '../../platform/libc/cpu.ts';
import { stays } from '../../platform/look-for.ts';

vi.mock('../../platform/libc/cpu.ts');

/** Milliseconds; each look at the clock takes 2 µs. */
let clock: number;
const words = new Int32Array(new SharedArrayBuffer(8));

beforeEach(() => {
  clock = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => {
    clock += 0.002;
    return clock;
  });
  words.fill(0);
  vi.mocked(yieldCpu).mockClear();
});
afterEach(() => {
  vi.restoreAllMocks();
});

describe('a look at a word', () => {
  it('needs no clock where it has changed', () => {
    words[1] = 5;

    expect([stays(words, 1, 0, 1, 8), clock]).toEqual([false, 0]);
  });

  it('lasts as long as it may, and gives the CPU away once', () => {
    expect(stays(words, 1, 0, 0.2, 8)).toBe(true);
    expect(clock).toBeGreaterThan(0.2);
    expect(clock).toBeLessThan(0.21);
    expect(yieldCpu).toHaveBeenCalledTimes(1);
  });

  it('ends when the thread changes it that had waited for the CPU', () => {
    vi.mocked(yieldCpu).mockImplementation(() => {
      words[1] = 1;
    });

    expect(stays(words, 1, 0, 0.2, 8)).toBe(false);
    expect(clock).toBeGreaterThan(0.03);
    expect(clock).toBeLessThan(0.04);
  });

  it('keeps the CPU where it is short', () => {
    expect(stays(words, 1, 0, 0.02, 8)).toBe(true);
    expect(yieldCpu).not.toHaveBeenCalled();
  });
});
