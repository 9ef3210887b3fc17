import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { Attention } from '../../../devices/kit/attention.ts';
import type { RegisterPageServer } from '../../../iommu/bus/register-pages.ts';
import { createSpinners, Spinners } from '../../../platform/spinners.ts';

/** Milliseconds; each look at the clock takes 2 µs. */
let clock: number;
/** What the worker says in its pages; how often it has served, and how many accesses wait. */
let attentive: boolean;
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
  attentive = false;
  served = 0;
  waiting = 0;
  rung = false;
  pagesThere = true;
  spinners = createSpinners();
  attention = new Attention({
    pages: {
      any: () => pagesThere,
      setAttentive: (on: boolean) => {
        attentive = on;
      },
    } as unknown as RegisterPageServer,
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
});

describe('a worker’s attention to register pages', () => {
  it('follows an access, and goes on while accesses come', () => {
    expect([attention.look(1000), served]).toEqual([false, 0]);
    attention.accessed();
    waiting = 2;

    expect([attention.look(1000), attentive]).toEqual([true, true]);
    expect([attention.look(1000), attentive]).toEqual([true, true]);
    expect([attention.look(1000), attentive]).toEqual([false, false]);
  });

  it('ends with a look after the worker has said that it ends', () => {
    attention.accessed();
    let looksWhileAttentive = 0;
    const { now } = performance;
    performance.now = () => {
      looksWhileAttentive = served;
      return now();
    };
    attention.look(1000);

    expect(served).toBe(looksWhileAttentive + 1);
  });

  it('lasts no longer than it may', () => {
    attention.accessed();
    attention.look(0.01);
    const short = clock;
    attention.accessed();
    attention.look(1000);

    expect(short).toBeLessThan(0.02);
    expect(clock - short).toBeGreaterThan(0.25);
    expect(clock - short).toBeLessThan(0.26);
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
    expect(attentive).toBe(true);
    attention.end();

    expect(attentive).toBe(false);
    expect(new Spinners(spinners, 1).enter()).toBe(true);
  });
});
