import { describe, expect, it } from 'vitest';

import { SleepingLock } from '../../../../iommu/kernel/core/sleeping-lock.ts';

describe('sleeping lock', () => {
  it('runs a call that does not sleep at once', () => {
    expect(new SleepingLock().run(() => 7)).toBe(7);
  });

  it('lets others wait while a holder sleeps, and runs them in order', async () => {
    const lock = new SleepingLock();
    const order: string[] = [];
    let wake = (): void => undefined;
    const sleeping = lock.run(() =>
      new Promise<void>((resolve) => (wake = resolve)).then(() => void order.push('first')),
    );
    const second = lock.run(() => order.push('second'));
    const third = lock.run(() => order.push('third'));
    await Promise.resolve();
    expect(order).toEqual([]);

    wake();
    await Promise.all([sleeping, second, third]);

    expect(order).toEqual(['first', 'second', 'third']);
  });

  it('is free again after a holder failed', async () => {
    const lock = new SleepingLock();

    await expect(lock.run(() => Promise.reject(new Error('no')))).rejects.toThrow('no');

    await new Promise((resolve) => setImmediate(resolve));
    expect(lock.run(() => 1)).toBe(1);
  });

  it('is free after a call that threw at once', () => {
    const lock = new SleepingLock();
    const fail = (): void => {
      throw new Error('no');
    };

    expect(() => lock.run(fail)).toThrow('no');

    expect(lock.run(() => 1)).toBe(1);
  });
});
