import { describe, expect, it } from 'vitest';

import {
  DmaMap,
  DmaUnmap,
  IrqSet,
  VFIO_CHECK_EXTENSION,
  VFIO_DEVICE_SET_IRQS,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
} from '../../../iommu/abi/vfio.ts';
import type { Reply, Request } from '../../../iommu/abi/wire.ts';
import { viewOf } from '../../../platform/struct.ts';
import type { CallName } from '../../../tools/with/filter/call-numbers.ts';
import { traceLine } from '../../../tools/with/trace/trace.ts';

type Asked = { readonly request: Request; readonly reply: Reply };
const line = (name: CallName, result: number, ...asked: Asked[]): string | undefined =>
  traceLine(name, { tid: 7, result, microseconds: 47.4, notes: { asked } });

function ioctl(nr: number, arg: bigint | Uint8Array, reply: Reply): string | undefined {
  return line('ioctl', reply.ret, { request: { op: 'ioctl', fd: 3, nr, arg }, reply });
}

const DMA = { argsz: 32, flags: 0x103, vaddr: 0x7f00n, iova: 0x1000n, size: 4096n };

describe('a line of the trace', () => {
  it('has the struct of an ioctl, and its result', () => {
    expect(ioctl(VFIO_IOMMU_MAP_DMA, DmaMap.bytes(DMA), { ret: 0, call: 'VFIO_IOMMU_MAP_DMA' })).toBe(
      '7 ioctl(3, VFIO_IOMMU_MAP_DMA, {argsz=32, flags=READ|WRITE|0x100, vaddr=0x7f00, iova=0x1000, size=0x1000}) = 0 <47 us>',
    );
  });

  it('has the reason of an error, and the rules that give its errno', () => {
    const reply = { ret: -17, call: 'VFIO_IOMMU_MAP_DMA', message: 'overlaps 0x1000+0x1000' };
    expect(ioctl(VFIO_IOMMU_MAP_DMA, DmaMap.bytes(DMA), reply)).toMatch(
      / = -1 EEXIST \(MAP-7: overlaps 0x1000\+0x1000\) /,
    );
  });

  it('has what the kernel has written', () => {
    const out = DmaUnmap.bytes({ argsz: 24, flags: 2, size: 4096n });
    const arg = DmaUnmap.bytes({ argsz: 24, flags: 2 });
    expect(ioctl(VFIO_IOMMU_UNMAP_DMA, arg, { ret: 0, out, call: 'VFIO_IOMMU_UNMAP_DMA' })).toContain(
      '{argsz=24, flags=ALL, iova=0x0, size=0x0} => {argsz=24, flags=ALL, iova=0x0, size=0x1000}) = 0',
    );
  });

  it('has what follows a struct', () => {
    const arg = IrqSet.bytes({ argsz: 28, flags: 0x24, index: 1, count: 2 }, 28);
    viewOf(arg).setInt32(20, 5, true);
    viewOf(arg).setInt32(24, -1, true);
    const text = ioctl(VFIO_DEVICE_SET_IRQS, arg, { ret: 0, call: 'VFIO_DEVICE_SET_IRQS' });
    expect(text).toContain('flags=DATA_EVENTFD|ACTION_TRIGGER, index=1, start=0, count=2, data=[5, -1]}');
  });

  it('has fds, values, and pointers to nothing', () => {
    const fd = new Uint8Array(Int32Array.of(4).buffer);
    expect(ioctl(VFIO_GROUP_SET_CONTAINER, fd, { ret: 0, call: 'VFIO_GROUP_SET_CONTAINER' })).toContain(
      'CONTAINER, [4])',
    );
    expect(ioctl(VFIO_CHECK_EXTENSION, 3n, { ret: 1, call: 'VFIO_CHECK_EXTENSION' })).toContain('EXTENSION, 0x3) = 1');
    expect(ioctl(0x3bff, 8n, { ret: -25 })).toContain('ioctl(3, 0x3bff, 0x8) = -1 ENOTTY');
  });

  it('has the bytes of a struct that is cut short', () => {
    const text = ioctl(VFIO_IOMMU_MAP_DMA, Uint8Array.of(32, 0, 0, 0), { ret: -14, call: 'VFIO_IOMMU_MAP_DMA' });
    expect(text).toContain('{argsz=32}) = -1 EFAULT');
  });

  it('has the place and the bytes of a transfer, piece by piece', () => {
    const at = 7 * 2 ** 40;
    const first = {
      request: { op: 'pread', fd: 5, offset: at, length: 2 },
      reply: { ret: 2, out: Uint8Array.of(0x34, 0x12) },
    } as const;
    const second = {
      request: { op: 'pread', fd: 5, offset: at + 2, length: 2 },
      reply: { ret: 1, out: Uint8Array.of(0xe8) },
    } as const;
    expect(line('preadv', 3, first, second)).toBe('7 preadv(5, [34 12][e8], 4, config+0x0) = 3 <47 us>');
  });

  it('is there only for calls of VFIO', () => {
    expect(
      line('ioctl', -25, { request: { op: 'ioctl', fd: 3, nr: 0x3b64, arg: 0n }, reply: { ret: -22, foreign: true } }),
    ).toBeUndefined();
    expect(traceLine('execve', { tid: 7, result: 0, microseconds: 1, notes: { asked: [] } })).toBeUndefined();
  });

  it('has the path of an open', () => {
    const over = { tid: 7, result: 3, microseconds: 1, notes: { path: '/dev/vfio/0', asked: [] } };
    expect(traceLine('openat', over)).toBe('7 openat("/dev/vfio/0") = 3 <1 us>');
  });
});
