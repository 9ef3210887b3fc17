import { describe, expect, it } from 'vitest';

import { PciBus } from '../../../devices/board/pci-bus.ts';

describe('PCI bus', () => {
  it('fills slots from 2 upward, one function each, until the bus is full', () => {
    const bus = new PciBus();

    const bdfs = Array.from({ length: 30 }, () => bus.takeNext());

    expect(bdfs.slice(0, 2)).toEqual([0x10, 0x18]);
    expect(bdfs.at(-1)).toBe(31 << 3);
    expect(() => bus.takeNext()).toThrow('a board has room for 30 devices');
  });

  it.each([
    ['4', 0x20],
    ['1f', 0xf8],
    ['0x0a.0', 0x50],
    ['1', undefined],
    ['20', undefined],
    ['4.1', undefined],
    ['', undefined],
    ['four', undefined],
  ])('addr=%s, as QEMU writes it', (addr, bdf) => {
    expect(new PciBus().take(addr)).toBe(bdf);
  });

  it('gives a slot away once', () => {
    const bus = new PciBus();

    expect([bus.take('2'), bus.take('2'), bus.takeNext()]).toEqual([0x10, undefined, 0x18]);
  });
});
