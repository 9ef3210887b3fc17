import { closeSync, openSync } from 'node:fs';
import { MessageChannel } from 'node:worker_threads';

import { describe, expect, it } from 'vitest';
import { changesFrom } from '../../../iommu/bus/change-port.ts';
import { createPortCounters } from '../../../iommu/bus/counters.ts';
import { createDoorbellTable, DoorbellTable } from '../../../iommu/bus/interrupts.ts';
import { PhysicalMemory } from '../../../iommu/bus/physical.ts';
import type { PaRange } from '../../../iommu/bus/range.ts';
import { DmaPort } from '../../../iommu/hardware/port.ts';
import { VmChild } from '../../platform/vm-child.ts';

const ram = (start: number, pages: number): PaRange & { kind: 'ram' } => ({
  kind: 'ram',
  start,
  size: pages * 4096,
  buffer: new SharedArrayBuffer(pages * 4096),
});

describe('PhysicalMemory', () => {
  it('finds the range of a page, and nothing in the holes between', () => {
    const ranges = [ram(0x10000, 4), ram(0x4000_0000, 2), ram(2 ** 51, 1)];
    const physical = new PhysicalMemory(ranges);

    const found = [0xf, 0x10, 0x13, 0x14, 0x40000, 0x40002, 2 ** 39, 2 ** 39 + 1].map(
      (pfn) => physical.find(pfn)?.range.start,
    );

    expect(found).toEqual([undefined, 0x10000, 0x10000, undefined, 0x4000_0000, undefined, 2 ** 51, undefined]);
  });

  it('refuses a range that overlaps another, is off a page, empty or shorter than its buffer says', () => {
    const physical = new PhysicalMemory([ram(0x10000, 4)]);

    expect(() => physical.attach(ram(0x13000, 4))).toThrow(RangeError);
    expect(() => physical.attach({ ...ram(0x20000, 4), start: 0x20010 })).toThrow(RangeError);
    expect(() => physical.attach({ ...ram(0x20000, 4), size: 0 })).toThrow(RangeError);
    expect(() => physical.attach({ ...ram(0x20000, 4), size: 5 * 4096 })).toThrow(RangeError);
  });

  it('keeps its order, whatever comes and goes', () => {
    const physical = new PhysicalMemory([]);
    const starts = [5, 1, 9, 3, 7, 2, 8].map((n) => n * 0x10_0000);
    for (const start of starts) physical.attach(ram(start, 2));
    for (const gone of [0x30_0000, 0x90_0000, 0x10_0000]) physical.detach(gone);
    physical.detach(0x70_0000 + 4096); // of none

    const found = starts.map((start) => physical.find(start / 4096 + 1)?.range.start);
    expect(found).toEqual([0x50_0000, undefined, undefined, undefined, 0x70_0000, 0x20_0000, 0x80_0000]);
    expect(() => physical.attach(ram(0x4f_f000, 2))).toThrow(RangeError);
    expect(() => physical.attach(ram(0x1f_f000, 0x400))).toThrow(RangeError);
    physical.attach(ram(0x30_0000, 0x200));
    expect(physical.find(0x4ff)?.range.start).toBe(0x30_0000);
  });

  it('reads and writes within one range only', () => {
    const physical = new PhysicalMemory([ram(0x10000, 1), ram(0x11000, 1)]);
    const bytes = Uint8Array.of(1, 2, 3, 4);

    expect(physical.write(0x10ffc, bytes)).toBe(true);
    expect(physical.write(0x10ffd, bytes)).toBe(false);
    const back = new Uint8Array(4);
    expect(physical.read(0x10ffc, back)).toBe(true);
    expect(back).toEqual(bytes);
    expect(physical.read32(0x10ffc)).toBe(0x04030201);
    expect(physical.read32(0x12000)).toBeUndefined();
    expect(physical.write32(0x12000, 1)).toBe(false);
  });

  it('learns of a new range on a miss, and of all changes when a page number comes out of an entry', () => {
    const { port1, port2 } = new MessageChannel();
    const physical = new PhysicalMemory([], changesFrom(port2));
    const first = ram(0x4000_0000, 1);
    const second = ram(0x4000_0000, 1);
    port1.postMessage({ attach: first });
    expect(physical.find(0x40000)?.range).toMatchObject({ kind: 'ram' });
    new Uint8Array(second.buffer)[0] = 2;
    port1.postMessage({ detach: first.start });
    port1.postMessage({ attach: second });

    const stale = physical.find(0x40000);
    const fresh = physical.resolve(0x40000);

    expect([stale?.bytes[0], fresh?.bytes[0]]).toEqual([0, 2]);
    port1.close();
  });

  it('takes a detached range out of the translations of every port', () => {
    const physical = new PhysicalMemory([ram(0x10000, 1)]);
    const port = new DmaPort({ agent: 0, did: 1, physical, wire: () => {}, counters: createPortCounters() });
    expect(port.write(0x10, 0, Uint8Array.of(1))).toBe(1);

    physical.detach(0x10000);
    expect(port.write(0x10, 0, Uint8Array.of(1))).toBe(0);
    physical.attach(ram(0x10000, 1));

    expect(port.write(0x10, 0, Uint8Array.of(1))).toBe(1);
    port.idle();
  });

  it('gives a doorbell 32-bit stores only; it reads as 0', () => {
    const interrupts = createDoorbellTable();
    const physical = new PhysicalMemory([{ kind: 'doorbell', start: 0xfee00000, size: 4096, interrupts }]);
    const table = new DoorbellTable(interrupts);

    physical.write32(0xfee00000, 5);
    physical.write(0xfee00010, Uint8Array.of(5, 0, 0, 0));
    physical.write(0xfee00010, Uint8Array.of(5, 0, 0, 0, 5, 0, 0, 0));
    physical.write(0xfee00011, Uint8Array.of(5, 0, 0, 0));

    expect(table.dropped(5)).toBe(2);
    expect(physical.read32(0xfee00000)).toBe(0);
  });
});

describe('private memory of a process', () => {
  it('is read and written through its mem file; when the process is gone reads give 0 and writes vanish', async () => {
    const { child, at } = await VmChild.start();
    const memFd = openSync(`/proc/${child.pid}/mem`, 'r+');
    const physical = new PhysicalMemory([{ kind: 'process', start: 0x10000, size: 4096, memFd, vaddr: at.private }]);
    const bytes = new Uint8Array(4);

    physical.read(0x10010, bytes);
    expect([...bytes]).toEqual([0x22, 0x22, 0x22, 0x22]);
    physical.write(0x10010, Uint8Array.of(1, 2, 3, 4));
    expect(physical.read32(0x10010)).toBe(0x04030201);
    await child.kill();

    expect(physical.read(0x10010, bytes)).toBe(true);
    expect([...bytes]).toEqual([0, 0, 0, 0]);
    expect(physical.write(0x10010, bytes)).toBe(true);
    closeSync(memFd);
  });
});
