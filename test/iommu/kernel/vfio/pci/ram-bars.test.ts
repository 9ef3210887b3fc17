import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { BarGate, createBarGate } from '../../../../../iommu/bus/bar-gate.ts';
import { createPortCounters } from '../../../../../iommu/bus/counters.ts';
import { createIntxLine } from '../../../../../iommu/bus/interrupts.ts';
import type { PciFunction } from '../../../../../iommu/bus/pci-function.ts';
import { createTimeline } from '../../../../../iommu/bus/timeline.ts';
import { RamBars } from '../../../../../iommu/kernel/vfio/pci/ram-bars.ts';
import { close } from '../../../../../platform/libc/fd.ts';
import { fileSize, ftruncate, pread, pwrite } from '../../../../../platform/libc/file-bytes.ts';
import { MFD_CLOEXEC, memfdCreate } from '../../../../../platform/libc/memfd.ts';

const SIZE = 1 << 20;

describe('RAM BARs of a function', () => {
  let fd: number;
  let gate: BarGate;
  let bars: RamBars;
  let fn: PciFunction;
  /** Whether the gate was open at each fence, and how long the object was. */
  let fences: (readonly [boolean, number])[];

  beforeEach(() => {
    fd = memfdCreate('BAR', MFD_CLOEXEC);
    ftruncate(fd, SIZE);
    const barGate = createBarGate();
    gate = new BarGate(barGate);
    gate.setDecoding(true);
    fences = [];
    fn = {
      bdf: 0x10,
      name: 'fake',
      mailbox: new SharedArrayBuffer(0),
      peerBox: new SharedArrayBuffer(0),
      intx: createIntxLine(),
      counters: createPortCounters(),
      timeline: createTimeline(),
      unit: 0,
      group: 0,
      object: fd,
      ramBars: [{ bar: 2, at: 0, size: SIZE }],
      barGate,
      registerPages: new SharedArrayBuffer(0),
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

  it('restored: bytes in runs longer than a chunk, and up to the very end', () => {
    const all = Uint8Array.from({ length: SIZE - 4096 }, (_, i) => (i * 31) >> 3);
    pwrite(fd, all, 4096);

    bars.withdraw();
    bars.restore();

    expect(bytes(0, 4096).every((byte) => byte === 0)).toBe(true);
    expect(Buffer.compare(Buffer.from(bytes(4096, all.length)), all)).toBe(0);
  });

  it('what nobody has written to costs nothing: a gigabyte with a few bytes in it', () => {
    const large = memfdCreate('BAR', MFD_CLOEXEC);
    ftruncate(large, 2 ** 30);
    for (const at of [5, 2 ** 29, 2 ** 30 - 1]) pwrite(large, Uint8Array.of(7), at);
    const bar = new RamBars({ ...fn, object: large, ramBars: [{ bar: 2, at: 0, size: 2 ** 30 }] }, () => undefined);

    const before = performance.now();
    bar.withdraw();
    bar.restore();

    expect(performance.now() - before).toBeLessThan(1000); // a look at each byte takes 7 s
    const last = new Uint8Array(1);
    pread(large, last, 2 ** 30 - 1);
    expect([last[0], fileSize(large)]).toEqual([7, 2 ** 30]);
    close(large);
  });

  it('what a client has cut off is lost, and what it has put behind the end is not the BAR', () => {
    pwrite(fd, Uint8Array.of(1, 2, 3), 0);
    ftruncate(fd, 2);
    pwrite(fd, Uint8Array.of(9), SIZE + 5);

    bars.withdraw();
    bars.restore();

    expect([bytes(0, 3), fileSize(fd)]).toEqual([[1, 2, 0], SIZE]);
  });

  it('tidied: as long as it was, and without what a client has put beside the BAR', () => {
    const beside = new RamBars({ ...fn, ramBars: [{ bar: 2, at: SIZE, size: SIZE }] }, () => undefined);
    ftruncate(fd, 2 * SIZE);
    pwrite(fd, new Uint8Array(SIZE).fill(1), 0);
    pwrite(fd, Uint8Array.of(7), SIZE);
    pwrite(fd, Uint8Array.of(8), 2 * SIZE + 5);

    beside.tidy();

    expect([bytes(0), bytes(SIZE), fileSize(fd)]).toEqual([[0, 0], [7, 0], 2 * SIZE]);
  });

  it('tidied: a client that has truncated it does no harm to the next one', () => {
    ftruncate(fd, 0);
    bars.tidy();
    expect(fileSize(fd)).toBe(SIZE);
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
