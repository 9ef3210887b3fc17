import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { BarGate, createBarGate } from '../../../../../iommu/bus/bar-gate.ts';
import { createPortCounters } from '../../../../../iommu/bus/counters.ts';
import { createIntxLine } from '../../../../../iommu/bus/interrupts.ts';
import { createTimeline } from '../../../../../iommu/bus/timeline.ts';
import { RamBars } from '../../../../../iommu/kernel/vfio/pci/ram-bars.ts';
import { close, fileSize, ftruncate, MFD_CLOEXEC, memfdCreate, pread, pwrite } from '../../../../../platform/libc.ts';

const SIZE = 1 << 20;

describe('RAM BARs of a function', () => {
  let fd: number;
  let gate: BarGate;
  let bars: RamBars;
  /** Whether the gate was open at each fence, and how long the object was. */
  let fences: (readonly [boolean, number])[];

  beforeEach(() => {
    fd = memfdCreate('BAR', MFD_CLOEXEC);
    ftruncate(fd, SIZE);
    const barGate = createBarGate();
    gate = new BarGate(barGate);
    gate.setDecoding(true);
    fences = [];
    const fn = {
      bdf: 0x10,
      name: 'fake',
      mailbox: new SharedArrayBuffer(0),
      intx: createIntxLine(),
      counters: createPortCounters(),
      timeline: createTimeline(),
      unit: 0,
      group: 0,
      ramBars: [{ bar: 2, fd, size: SIZE }],
      barGate,
    };
    bars = new RamBars(fn, () => fences.push([gate.open(), fileSize(fd)]));
  });
  afterEach(() => close(fd));

  const bytes = (at: number, length = 2): number[] => {
    const into = new Uint8Array(length);
    pread(fd, into, at);
    return [...into];
  };

  it('withdrawn: no DMA is let in, none is under way, then the object has no page left', () => {
    bars.withdraw();

    expect(fences).toEqual([[false, SIZE]]);
    expect(fileSize(fd)).toBe(0);
    expect(gate.open()).toBe(false);
  });

  it('restored: every byte is where it was, the object is whole, and DMA is let in again', () => {
    pwrite(fd, Uint8Array.of(1, 2), 65535);
    pwrite(fd, Uint8Array.of(3, 4), 0x80000);
    pwrite(fd, Uint8Array.of(5), SIZE - 1);

    bars.withdraw();
    bars.restore();

    expect([bytes(65535), bytes(0x80000), bytes(SIZE - 1, 1)]).toEqual([[1, 2], [3, 4], [5]]);
    expect(bytes(0, 65535).every((byte) => byte === 0)).toBe(true);
    expect(fileSize(fd)).toBe(SIZE);
    expect(gate.open()).toBe(true);
  });

  it('an empty one comes back whole', () => {
    bars.withdraw();
    bars.restore();

    expect(fileSize(fd)).toBe(SIZE);
  });

  it('withdrawing twice keeps the bytes, restoring twice keeps what was written since', () => {
    pwrite(fd, Uint8Array.of(9), 0);

    bars.withdraw();
    bars.withdraw();
    bars.restore();
    pwrite(fd, Uint8Array.of(8), 1);
    bars.restore();

    expect(bytes(0)).toEqual([9, 8]);
    expect(fences).toHaveLength(1);
  });

  it('stays shut while the function does not decode', () => {
    bars.withdraw();
    gate.setDecoding(false);
    bars.restore();

    expect(gate.open()).toBe(false);
  });
});
