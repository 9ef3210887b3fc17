/** Words and steps of a recording, made from what a program did. */
import { describe, expect, it } from 'vitest';

import { placeInObject } from '../../../iommu/abi/device-object.ts';
import {
  Bitmap,
  DmaMap,
  DmaUnmap,
  IrqSet,
  VFIO_CHECK_EXTENSION,
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_SET_IRQS,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
} from '../../../iommu/abi/vfio.ts';
import type { IoctlRequest, Reply } from '../../../iommu/abi/wire.ts';
import type { Vma } from '../../../platform/vma.ts';
import { parseVectors } from '../../../tools/conform/vector-file.ts';
import { FdNames } from '../../../tools/with/record/fd-names.ts';
import { recordingHeader } from '../../../tools/with/record/header.ts';
import { MemoryNames } from '../../../tools/with/record/memory-names.ts';
import { type Names, recordedStep } from '../../../tools/with/record/step.ts';

/** What another process of the recording has, too. */
const PASSED = 'passed';

describe('fds', () => {
  function start(open: Map<number, string>) {
    const written: string[] = [];
    return {
      written,
      fds: new FdNames({
        pid: 1,
        write: (step) => written.push(step),
        identity: (_, fd) => open.get(fd),
        receives: (fd, identity) => identity === PASSED && written.push(`@P1 pass f1 main f${fd}`) > 0,
      }),
    };
  }

  it('are closed before the next step, also when their number is another file’s', () => {
    const open = new Map([
      [3, 'a'],
      [4, 'b'],
      [5, 'c'],
    ] as const) as Map<number, string>;
    const { written, fds } = start(open);
    for (const fd of [3, 4, 5]) fds.opened(fd);
    open.delete(3);
    open.set(4, 'x');
    fds.closes();
    expect(written).toEqual(['close f3', 'close f4']);
  });

  it('that have no name are a copy, an eventfd, a file of another process, or one that VFIO does not know', () => {
    const open = new Map([
      [3, 'a'],
      [7, 'a'],
      [8, 'eventfd 1'],
      [9, 'y'],
      [10, PASSED],
    ] as const) as Map<number, string>;
    const { written, fds } = start(open);
    fds.opened(3);
    const words = [3, 7, 8, 9, 10, 7, 10, 99, -1].map((fd) => fds.word(fd));
    expect(words).toEqual(['f3', 'f7', 'f8', 'f9', 'f10', 'f7', 'f10', 'f99', '-1']);
    expect(written).toEqual(['dup f3 f7', 'eventfd f8', 'open f9 /dev/null', '@P1 pass f1 main f10']);
  });

  it('stay over execve, or were close-on-exec', () => {
    const open = new Map([
      [3, 'a'],
      [4, 'b'],
    ] as const) as Map<number, string>;
    const { written, fds } = start(open);
    for (const fd of [3, 4]) fds.opened(fd);
    open.delete(4);
    fds.execs();
    expect(written).toEqual(['cloexec f3 0', 'cloexec f4 1']);
  });
});

describe('memory', () => {
  const vma = (start: number, end: number, more: Partial<Vma> = {}): Vma => ({
    ...{ start, end, readable: true, writable: true, shared: false, offset: 0, major: 0, minor: 1, inode: 0 },
    ...more,
  });
  function start(...vmas: Vma[]) {
    const written: string[] = [];
    const source = {
      vmaAt: (vaddr: number) => vmas.find((one) => vaddr >= one.start && vaddr < one.end),
      deviceFd: () => 'f5',
    };
    return { written, vmas, memory: new MemoryNames(source, (step) => written.push(step)) };
  }

  it('that is private gets a name once, with what lies behind it', () => {
    const { written, memory } = start(
      vma(0x10000, 0x20000),
      vma(0x20000, 0x30000),
      vma(0x30000, 0x40000, { writable: false }),
    );
    expect(memory.word(0x11000, 0x1f000)).toBe('$m1+0x1000');
    expect(memory.word(0x10000, 0x1000)).toBe('$m1');
    expect(written).toEqual(['mem m1 anon 0x20000 rw']);
  });

  it('of an object keeps its name over execve, at another address', () => {
    const shared = { shared: true, inode: 9, offset: 0x1000 };
    const { written, vmas, memory } = start(vma(0x10000, 0x20000, shared));
    expect(memory.word(0x10000, 0x1000)).toBe('$m1+0x1000');
    memory.execs();
    vmas[0] = vma(0x50000, 0x60000, shared);
    expect(memory.word(0x51000, 0x1000)).toBe('$m2+0x2000');
    expect(written).toEqual(['mem m1 memfd 0x11000 rw', 'remap m1 m2']);
  });

  it('of a BAR is a mapping of the device’s region', () => {
    const { written, memory } = start(
      vma(0x10000, 0x20000, { shared: true, inode: 9, offset: placeInObject(2, true) + 0x1000 }),
    );
    expect(memory.word(0x11000, 0x1000)).toBe('$m1+0x1000');
    expect(written).toEqual(['bar m1 f5 2:0x1000 0x10000 rw']);
  });

  it('that is not there is a hole', () => {
    const { written, memory } = start();
    expect(memory.word(0x5000, 0x2000)).toBe('$m1');
    expect(written).toEqual(['mem m1 hole 0x2000']);
  });
});

describe('steps', () => {
  const names: Names = {
    fd: (fd) => `f${fd}`,
    memory: () => '$m1',
    read: (_, length) => new Uint8Array(length).fill(3),
  };
  const ioctl = (nr: number, call: string, arg: bigint | Uint8Array, reply: Partial<Reply> = {}) => {
    const request: IoctlRequest = { op: 'ioctl', fd: 3, nr, arg };
    return recordedStep(request, { ret: 0, call, ...reply }, names);
  };
  const map = DmaMap.bytes({ argsz: 32, flags: 3, vaddr: 0x7f00_0000_0000n, iova: 0x1000n, size: 0x2000n }, 256);
  const unmap = DmaUnmap.bytes({ argsz: 24, flags: 0, iova: 0x1000n, size: 0x5000n }, 256);

  it.each([
    [ioctl(VFIO_CHECK_EXTENSION, 'VFIO_CHECK_EXTENSION', 3n, { ret: 1 }), 'check f3 0x3', '1'],
    [
      ioctl(VFIO_IOMMU_MAP_DMA, 'VFIO_IOMMU_MAP_DMA', map, { ret: -17 }),
      'map f3 argsz=0x20 flags=0x3 vaddr=$m1 iova=0x1000 size=0x2000',
      '-EEXIST',
    ],
    [
      ioctl(VFIO_IOMMU_UNMAP_DMA, 'VFIO_IOMMU_UNMAP_DMA', unmap, {
        out: DmaUnmap.bytes({ argsz: 24, flags: 0, iova: 0x1000n, size: 0x2000n }),
      }),
      'unmap f3 argsz=0x18 flags=0x0 iova=0x1000 size=0x5000',
      '0 out=180000000000000000100000000000000020000000000000',
    ],
    [
      ioctl(VFIO_DEVICE_SET_IRQS, 'VFIO_DEVICE_SET_IRQS', irqSet(7, -1)),
      'set_irqs f3 argsz=0x1c flags=0x24 index=0x1 start=0x0 count=0x2 fds=f7,f-1',
      '0',
    ],
    [
      ioctl(VFIO_DEVICE_GET_INFO, 'VFIO_DEVICE_GET_INFO', Uint8Array.of(8, 0, 0, 0, 0, 0, 0, 0), {
        out: Uint8Array.of(8, 0, 0, 0, 2),
      }),
      'ioctlbuf f3 0x3b6b hex=0800000000000000',
      '0 out=0800000002',
    ],
    [ioctl(0x3b99, '', 5n, { ret: -25 }), 'ioctl f3 0x3b99 0x5', '-ENOTTY'],
    [
      recordedStep({ op: 'pwrite', fd: 3, offset: 7n << 40n, data: Uint8Array.of(6) }, { ret: 1 }, names),
      'pwrite f3 7:0x0 06',
      '1',
    ],
    [
      recordedStep({ op: 'pread', fd: 3, offset: 4n, length: 2 }, { ret: 2, out: Uint8Array.of(1, 2) }, names),
      'pread f3 0:0x4 2',
      '2 data=0102',
    ],
  ])('%j', (recorded, step, answer) => {
    expect(recorded).toEqual({ step, answer });
  });

  it('have the bitmap that the kernel has left', () => {
    const arg = DmaUnmap.bytes({ argsz: 48, flags: 1, iova: 0n, size: 0x5000n }, 48);
    arg.set(Bitmap.bytes({ pgsize: 0x1000n, size: 8n, data: 0x5000n }), DmaUnmap.size);
    expect(ioctl(VFIO_IOMMU_UNMAP_DMA, 'VFIO_IOMMU_UNMAP_DMA', arg)).toEqual({
      step: 'unmap f3 argsz=0x30 flags=0x1 iova=0x0 size=0x5000 pgsize=0x1000 bsize=0x8 bitmap=buf:8 avail=48',
      answer: '0 bm=0303030303030303',
    });
  });

  function irqSet(...fds: number[]): Uint8Array {
    const arg = IrqSet.bytes({ argsz: 28, flags: 0x24, index: 1, start: 0, count: 2 }, 256);
    arg.set(new Uint8Array(Int32Array.from(fds).buffer), IrqSet.size);
    return arg;
  }
});

it('the header tells the machine', () => {
  const host = { profile: '6.12', devices: ['edu,flr=on', 'capture'], iommus: ['one'], memlock: 'unlimited' };
  const text = recordingHeader(host, ['./a', 'b\nc']);
  const { profile: _, ...machine } = host;
  expect(parseVectors(text, 'x.vec')).toMatchObject({ uname: '6.12', group: 'program', machine });
});
