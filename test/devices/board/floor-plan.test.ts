import { describe, expect, it } from 'vitest';

import { type DeviceOptions, planDevices } from '../../../devices/board/floor-plan.ts';

const plan = (devices: readonly DeviceOptions[], firstGroup = 0) =>
  planDevices({ devices, units: ['iommu0', 'second'], firstGroup });

/** The machine of the recorded kernels (docs/recordings.md, "How they were recorded"). */
const RECORDED: readonly DeviceOptions[] = [
  ...['4', '5', '6'].map((addr) => ({ type: 'edu', properties: { addr, 'dma-mask': '0xffffffff' } })),
  { type: 'ivshmem-plain', properties: { addr: '7', size: '1M' } },
  { type: 'pci-testdev', properties: { addr: '8', membar: '64K', 'membar-backed': 'on' } },
];

describe('floor plan', () => {
  it('of the recorded machine has the BARs and interrupt lines its firmware chose (vectors: edu-config)', () => {
    const devices = plan(RECORDED, 1);

    expect(devices.map(({ bdf, group, interruptLine }) => [bdf, group, interruptLine])).toEqual([
      [0x20, 1, 0x0a],
      [0x28, 2, 0x0a],
      [0x30, 3, 0x0b],
      [0x38, 4, 0],
      [0x40, 5, 0],
    ]);
    expect(devices.map(({ barAddresses }) => barAddresses)).toEqual([
      { 0: 0xfe60_0000 },
      { 0: 0xfe70_0000 },
      { 0: 0xfe80_0000 },
      { 0: 0xfe90_0000, 2: 0xfea0_0000 },
      { 0: 0xfe90_1000, 1: 0xc000, 2: 0xfeb0_0000 },
    ]);
  });

  it('leaves out the slots that were asked for when it chooses, and numbers groups by slot', () => {
    const devices = plan([
      { type: 'edu', properties: {} },
      { type: 'capture', properties: { addr: '2' } },
      { type: 'edu', properties: { 'dma-latency-ms': '0' } },
    ]);

    expect(devices.map(({ model, bdf, group }) => [model.type.name, bdf >> 3, group])).toEqual([
      ['capture', 2, 0],
      ['edu', 3, 1],
      ['edu', 4, 2],
    ]);
  });

  it('puts a device behind the unit it names, else behind the first', () => {
    const devices = plan([
      { type: 'edu', properties: { iommu: 'second' } },
      { type: 'edu', properties: {} },
      { type: 'mscribe', properties: {} },
    ]);

    expect(devices.map(({ unit }) => unit)).toEqual([1, 0, undefined]);
  });

  it('gives every BAR a place of its own, aligned to its size and to pages', () => {
    const devices = plan([
      { type: 'ivshmem-plain', properties: { size: '256M' } },
      { type: 'capture', properties: {} },
      { type: 'ivshmem-plain', properties: { size: '64K' } },
      { type: 'edu', properties: {} },
    ]);

    const places = devices
      .flatMap(({ bars, barAddresses }) => bars.map(({ index, size }) => ({ start: barAddresses[index]!, size })))
      .sort((a, b) => a.start - b.start);
    expect(places.every(({ start, size }) => start % Math.max(size, 4096) === 0)).toBe(true);
    expect(places.slice(1).every(({ start }, i) => places[i]!.start + places[i]!.size <= start)).toBe(true);
  });

  it.each([
    ['a slot twice', [RECORDED[0]!, RECORDED[0]!], /^edu: addr=4: expected a free slot/],
    ['no slot', [{ type: 'edu', properties: { addr: '40' } }], /^edu: addr=40: expected a free slot/],
    [
      'a unit there is not',
      [{ type: 'edu', properties: { iommu: 'third' } }],
      /^edu: iommu=third: expected one of iommu0, second/,
    ],
    [
      'a unit before a device without IOMMU',
      [{ type: 'mscribe', properties: { iommu: 'iommu0' } }],
      /^mscribe: iommu=iommu0/,
    ],
    [
      'a BAR that no register can describe',
      [{ type: 'ivshmem-plain', properties: { size: '3M' } }],
      /^ivshmem-plain: size=3M: expected a power of two/,
    ],
    [
      'more BARs than the window takes',
      Array.from({ length: 3 }, () => ({ type: 'ivshmem-plain', properties: { size: '512M' } })),
      /do not fit/,
    ],
  ])('refuses %s', (_, devices, message) => {
    expect(() => plan(devices)).toThrow(message);
  });
});
