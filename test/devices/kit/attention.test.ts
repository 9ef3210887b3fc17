import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { Attention } from '../../../devices/kit/attention.ts';
import { leaveCpu } from '../../../platform/libc/cpu.ts';
import { createSpinners, Spinners } from '../../../platform/spinners.ts';

vi.mock('../../../platform/libc/cpu.ts');

/** Milliseconds; each look at the clock takes 2 µs. */
let clock: number;
/** How often the worker has served, and how many accesses wait. */
let served: number;
let waiting: number;
let rung: boolean;
let pagesThere: boolean;
let spinners: SharedArrayBuffer;
let attention: Attention;

beforeEach(() => {
  clock = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => {
    clock += 0.002;
    return clock;
  });
  served = 0;
  waiting = 0;
  rung = false;
  pagesThere = true;
  spinners = createSpinners();
  attention = new Attention({
    wanted: () => pagesThere,
    spinners: new Spinners(spinners, 1),
    serve: () => {
      served++;
      return waiting-- > 0;
    },
    rung: () => rung,
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.mocked(leaveCpu).mockClear();
});

describe('a worker’s attention to register pages', () => {
  it('follows an access, and goes on while accesses come', () => {
    expect([attention.look(1000), served]).toEqual([false, 0]);
    attention.accessed();
    waiting = 2;

    expect([attention.look(1000), attention.look(1000), attention.look(1000)]).toEqual([true, true, false]);
  });

  it('lasts no longer than it may', () => {
    attention.accessed();
    attention.look(0.01);
    const short = clock;
    attention.accessed();
    attention.look(1000);

    expect(short).toBeLessThan(0.02);
    expect(clock - short).toBeGreaterThan(0.05);
    expect(clock - short).toBeLessThan(0.06);
  });

  it('ends when something else wants the worker', () => {
    attention.accessed();
    rung = true;

    expect(attention.look(1000)).toBe(true);
  });

  it('comes less often where nothing comes', () => {
    const looked = Array.from({ length: 12 }, () => {
      attention.accessed();
      const before = served;
      attention.look(1000);
      return served > before;
    });

    expect(looked.map(Number).join('')).toBe('101000100000');
  });

  it('does not come less often where something came before nothing did', () => {
    const looked = Array.from({ length: 6 }, () => {
      attention.accessed();
      waiting = 1;
      while (attention.look(1000));
      return waiting < 1;
    });

    expect(looked).not.toContain(false);
  });

  it('leaves the CPU to the client that has woken the worker from there', () => {
    vi.mocked(leaveCpu).mockReturnValue(true);
    attention.wokenFromOurCpu();
    attention.accessed();
    waiting = 1;

    expect(attention.look(1000)).toBe(true);
    expect(leaveCpu).toHaveBeenCalledTimes(1);
    while (attention.look(1000));
    attention.accessed();
    attention.look(1000);
    expect(leaveCpu).toHaveBeenCalledTimes(1); // that was another wake-up
  });

  it('does not look for that client where there is no other CPU', () => {
    vi.mocked(leaveCpu).mockReturnValue(false);
    attention.wokenFromOurCpu();
    attention.accessed();

    expect([attention.look(1000), served, new Spinners(spinners, 1).enter()]).toEqual([false, 0, true]);
  });

  it('is not given where there is no page, or no CPU for it', () => {
    attention.accessed();
    pagesThere = false;
    expect([attention.look(1000), served]).toEqual([false, 0]);
    pagesThere = true;
    expect(new Spinners(spinners, 1).enter()).toBe(true);
    attention.accessed();

    expect([attention.look(1000), served]).toEqual([false, 0]);
  });

  it('leaves its place to others', () => {
    attention.accessed();
    waiting = 1;
    attention.look(1000);
    expect(new Spinners(spinners, 1).enter()).toBe(false);
    attention.end();

    expect(new Spinners(spinners, 1).enter()).toBe(true);
  });
});
