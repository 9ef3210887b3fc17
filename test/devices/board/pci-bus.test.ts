import { describe, expect, it } from 'vitest';

import { PciBus } from '../../../devices/board/pci-bus.ts';
import { capture } from '../../../devices/capture/device.ts';
import { edu } from '../../../devices/edu/device.ts';

describe('PCI bus', () => {
  it('fills slots from 2 upward, one function each, until the bus is full', () => {
    const bus = new PciBus();

    const bdfs = Array.from({ length: 30 }, () => bus.nextBdf());

    expect(bdfs.slice(0, 2)).toEqual([0x10, 0x18]);
    expect(bdfs.at(-1)).toBe(31 << 3);
    expect(() => bus.nextBdf()).toThrow('a board has room for 30 devices');
  });

  it('gives each BAR a place of its own, aligned to its size', () => {
    const bus = new PciBus();

    const places = [capture, edu, capture].map(({ bars }) => bus.assignBars(bars)[0]);

    expect(places).toEqual([0xc000_0000, 0xc010_0000, 0xc020_0000]);
  });
});
