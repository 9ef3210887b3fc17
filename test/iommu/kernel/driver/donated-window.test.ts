import { beforeEach, describe, expect, it } from 'vitest';

import { DonatedWindow } from '../../../../iommu/kernel/driver/donated-window.ts';
import { errnoOf } from '../vfio/type1/container.ts';

const VPN = 0x8000;

/** Doorbells 1, 2, 3 are pages of the bus. */
describe('a window of iovas for MSIs', () => {
  let mapped: Map<number, number>;
  let window: DonatedWindow;
  beforeEach(() => {
    mapped = new Map();
    window = new DonatedWindow({
      map: (vpn, pfn) => void mapped.set(vpn, pfn),
      unmap: (vpn) => void mapped.delete(vpn),
    });
  });

  it('gives each doorbell a page, and all vectors of one doorbell the same (RSV-8)', () => {
    window.set(VPN, 2);

    expect([window.acquire(1), window.acquire(2), window.acquire(1)]).toEqual([VPN, VPN + 1, VPN]);
    expect([...mapped]).toEqual([
      [VPN, 1],
      [VPN + 1, 2],
    ]);
  });

  it('keeps a doorbell mapped until its last vector has gone, and then has room for another', () => {
    window.set(VPN, 1);
    window.acquire(1);
    window.acquire(1);
    window.release(1);
    expect([...mapped]).toEqual([[VPN, 1]]);
    expect(errnoOf(() => window.acquire(2))).toBe('ENOSPC');

    window.release(1);

    expect([...mapped]).toEqual([]);
    expect(window.acquire(2)).toBe(VPN);
  });

  it('is needed before there is a doorbell, and comes once', () => {
    expect(errnoOf(() => window.acquire(1))).toBe('EINVAL');
    window.set(VPN, 1);
    expect(errnoOf(() => window.set(VPN + 8, 1))).toBe('EINVAL');
    window.clear();
    window.set(VPN + 8, 1);

    expect(window.acquire(1)).toBe(VPN + 8);
  });

  it('has no page for a doorbell that could not be mapped', () => {
    let refuses = true;
    window = new DonatedWindow({
      map: () => {
        if (refuses) throw new Error('no memory');
      },
      unmap: () => undefined,
    });
    window.set(VPN, 1);
    expect(() => window.acquire(1)).toThrow('no memory');
    refuses = false;

    expect(window.acquire(2)).toBe(VPN);
  });
});
