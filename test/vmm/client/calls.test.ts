import { describe, expect, it } from 'vitest';

import {
  Bitmap,
  DirtyBitmap,
  DirtyBitmapGet,
  DmaMap,
  DmaUnmap,
  IrqSet,
  VFIO_DEVICE_SET_IRQS,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
} from '../../../iommu/abi/vfio.ts';
import { ebusy } from '../../../platform/errno.ts';
import { vaddrOf } from '../../../platform/libc/mmap.ts';
import { viewOf } from '../../../platform/struct.ts';
import * as container from '../../../vmm/client/container.ts';
import { enableDevice } from '../../../vmm/client/device.ts';
import * as dma from '../../../vmm/client/dma.ts';
import * as group from '../../../vmm/client/group.ts';
import * as irqs from '../../../vmm/client/irqs.ts';
import { RegionRegisters } from '../../../vmm/client/registers.ts';
import type { FileCalls } from '../../../vmm/client/task-channel.ts';

/** Each function of vmm/client is one call, whose argument is what linux/vfio.h says. */

const FD = 7;

interface Call {
  readonly fd: number;
  readonly nr: number;
  readonly arg: number | bigint | Uint8Array;
}

/** A kernel that keeps what it is asked; `answer` may write into the argument. */
class Recorder implements FileCalls {
  readonly calls: Call[] = [];
  readonly writes: (readonly [offset: number | bigint, ...bytes: number[]])[] = [];
  readonly #answer: (arg: Uint8Array) => number;

  constructor(answer: (arg: Uint8Array) => number = () => 0) {
    this.#answer = answer;
  }

  ioctl(fd: number, nr: number, arg: number | bigint | Uint8Array): number {
    this.calls.push({ fd, nr, arg: arg instanceof Uint8Array ? arg.slice() : arg });
    return arg instanceof Uint8Array ? this.#answer(arg) : this.#answer(new Uint8Array(0));
  }

  ioctls(fd: number, nr: number, args: Uint8Array, size: number): void {
    for (let at = 0; at < args.length; at += size) this.ioctl(fd, nr, args.subarray(at, at + size));
  }

  pread(_fd: number, _offset: number | bigint, into: Uint8Array): number {
    return this.#answer(into);
  }

  pwrite(_fd: number, offset: number | bigint, data: Uint8Array): number {
    this.writes.push([offset, ...data]);
    return data.length;
  }
}

/** The only call made, and its argument. */
function onlyCall({ calls }: Recorder): { readonly nr: number; readonly view: DataView } {
  expect(calls.map(({ fd }) => fd)).toEqual([FD]);
  return { nr: calls[0]!.nr, view: viewOf(calls[0]!.arg as Uint8Array) };
}

describe('DMA', () => {
  it('maps for reading and writing, at a vaddr, by numbers or bigints', () => {
    const kernel = new Recorder();
    dma.mapDma(kernel, FD, { iova: 2n ** 60n, size: 8192, vaddr: 0x7f00_0000_0000 });
    const { nr, view } = onlyCall(kernel);
    expect(nr).toBe(VFIO_IOMMU_MAP_DMA);
    expect(DmaMap.read(view)).toEqual({ argsz: 32, flags: 3, vaddr: 0x7f00_0000_0000n, iova: 2n ** 60n, size: 8192n });
  });

  it('maps many in the order they have, each with its own flags', () => {
    const kernel = new Recorder();
    const mapping = { iova: 0x1000, size: 4096, vaddr: 0x10_0000 };
    dma.mapDmas(kernel, FD, [mapping, { ...mapping, iova: 0x3000, flags: 4 }]);
    const args = kernel.calls.map(({ arg }) => DmaMap.read(viewOf(arg as Uint8Array)));
    expect(args.map(({ iova, flags }) => [iova, flags])).toEqual([
      [0x1000n, 3],
      [0x3000n, 4],
    ]);
  });

  it('says how much was unmapped, as the kernel writes it back', () => {
    const kernel = new Recorder((arg) => {
      DmaUnmap.write(viewOf(arg), { size: 4096n });
      return 0;
    });
    expect(dma.unmapDma(kernel, FD, { iova: 0x1000, size: 0x3000 })).toBe(4096);
    const { nr, view } = onlyCall(kernel);
    expect(nr).toBe(VFIO_IOMMU_UNMAP_DMA);
    expect(DmaUnmap.read(view)).toEqual({ argsz: 24, flags: 0, iova: 0x1000n, size: 0x3000n });
  });

  it.each([
    ['unmapAllDma', dma.unmapAllDma, 2],
    ['invalidateVaddrs', dma.invalidateVaddrs, 6],
  ])('%s names no range', (_, call, flags) => {
    const kernel = new Recorder();
    call(kernel, FD);
    expect(DmaUnmap.read(onlyCall(kernel).view)).toEqual({ argsz: 24, flags, iova: 0n, size: 0n });
  });

  it('tells the kernel where dirty bits go: a bit for each 4 KiB', () => {
    const bits = new Uint8Array(new SharedArrayBuffer(16));
    const unmap = new Recorder();
    dma.unmapDmaDirty(unmap, FD, { iova: 0, size: 4096 }, bits);
    const get = new Recorder();
    dma.getDirtyBitmap(get, FD, { iova: 0x5000, size: 8192 }, bits);

    const bitmap = { pgsize: 4096n, size: 16n, data: BigInt(vaddrOf(bits)) };
    expect(DmaUnmap.read(onlyCall(unmap).view)).toMatchObject({ argsz: 48, flags: 1 });
    expect(Bitmap.read(onlyCall(unmap).view, DmaUnmap.size)).toEqual(bitmap);
    expect(onlyCall(get).nr).toBe(VFIO_IOMMU_DIRTY_PAGES);
    expect(DirtyBitmap.read(onlyCall(get).view)).toEqual({ argsz: 48, flags: 4 });
    expect(DirtyBitmapGet.read(onlyCall(get).view, DirtyBitmap.size)).toEqual({
      iova: 0x5000n,
      size: 8192n,
      'bitmap.pgsize': 4096n,
      'bitmap.size': 16n,
      'bitmap.data': bitmap.data,
    });
  });

  it.each([
    ['startDirtyTracking', dma.startDirtyTracking, 1],
    ['stopDirtyTracking', dma.stopDirtyTracking, 2],
  ])('%s has no more than its flag', (_, call, flags) => {
    const kernel = new Recorder();
    call(kernel, FD);
    expect(DirtyBitmap.read(onlyCall(kernel).view)).toEqual({ argsz: 8, flags });
  });

  it('throws what the kernel throws', () => {
    const kernel = new Recorder(() => {
      throw ebusy('no');
    });
    expect(() => dma.mapDma(kernel, FD, { iova: 0, size: 1, vaddr: 0 })).toThrow(
      expect.objectContaining({ code: 'EBUSY' }),
    );
  });
});

describe('interrupts', () => {
  const MSI = 1;
  it.each([
    ['armIrqs', (kernel: FileCalls) => irqs.armIrqs(kernel, FD, MSI, [9, -1]), { argsz: 28, flags: 0x24, count: 2 }],
    ['disarmIrqs', (kernel: FileCalls) => irqs.disarmIrqs(kernel, FD, MSI), { argsz: 20, flags: 0x21, count: 0 }],
    ['triggerIrq', (kernel: FileCalls) => irqs.triggerIrq(kernel, FD, MSI), { argsz: 20, flags: 0x21, count: 1 }],
    [
      'setIrqs that masks two from the third on',
      (kernel: FileCalls) => irqs.setIrqs(kernel, FD, { index: MSI, action: 8, start: 2, count: 2 }),
      { argsz: 20, flags: 0x09, start: 2, count: 2 },
    ],
  ])('%s', (_, call, expected) => {
    const kernel = new Recorder();
    call(kernel);
    const { nr, view } = onlyCall(kernel);
    expect(nr).toBe(VFIO_DEVICE_SET_IRQS);
    expect(IrqSet.read(view)).toEqual({ index: MSI, start: 0, ...expected });
    expect(view.byteLength).toBe(expected.argsz);
  });

  it('puts the eventfds behind the struct', () => {
    const view = viewOf(irqs.irqSetArg({ index: MSI, eventfds: [9, -1] }));
    expect([view.getInt32(20, true), view.getInt32(24, true)]).toEqual([9, -1]);
  });
});

describe('groups and containers', () => {
  it('pass a container as an int and a device as a C string', () => {
    expect([...group.containerArg(258)]).toEqual([2, 1, 0, 0]);
    expect([...group.deviceNameArg('04.0')]).toEqual([0x30, 0x34, 0x2e, 0x30, 0]);
  });

  it('follow the capabilities of GET_INFO', () => {
    const kernel = new Recorder((arg) => {
      const view = viewOf(arg);
      view.setBigUint64(8, 0x4020_1000n, true); // iova_pgsizes
      view.setUint32(16, 64, true); // cap_offset
      view.setUint16(64, 3, true); // DMA_AVAIL, the next at 128
      view.setUint32(68, 128, true);
      view.setUint32(72, 65535, true);
      view.setUint16(128, 1, true); // IOVA_RANGE, two of them
      view.setUint32(136, 2, true);
      for (const [i, word] of [0n, 0xfedf_ffffn, 0xfef0_0000n, 2n ** 64n - 1n].entries()) {
        view.setBigUint64(144 + 8 * i, word, true);
      }
      return 0;
    });
    expect(container.getType1Info(kernel, FD)).toEqual({
      pgsizes: 0x4020_1000n,
      dmaAvail: 65535,
      iovas: [
        { start: 0n, last: 0xfedf_ffffn },
        { start: 0xfef0_0000n, last: 2n ** 64n - 1n },
      ],
    });
  });
});

describe('a device', () => {
  it('is enabled by bits of COMMAND, in the region that the kernel names; the others stay', () => {
    const CONFIG = 7n * 2n ** 40n;
    const kernel = new Recorder((arg) => {
      if (arg.length === 2) arg.set([0x01, 0x04]);
      else viewOf(arg).setBigUint64(24, CONFIG, true);
      return arg.length;
    });
    enableDevice(kernel, FD);
    expect(kernel.writes).toEqual([[Number(CONFIG) + 4, 0x07, 0x04]]);
  });

  it('has registers of 32 bits, unsigned', () => {
    const kernel = new Recorder((into) => into.fill(0xff).length);
    const registers = new RegionRegisters(kernel, FD, 0x1_0000);
    registers.write(0x10, -2);
    expect(kernel.writes).toEqual([[0x1_0010, 0xfe, 0xff, 0xff, 0xff]]);
    expect(registers.read(0)).toBe(0xffff_ffff);
  });

  it('has no register behind the end of its region: EIO', () => {
    const registers = new RegionRegisters(new Recorder(() => 2), FD, 0);
    expect(() => registers.read(0xffe)).toThrow(expect.objectContaining({ code: 'EIO' }));
  });
});
