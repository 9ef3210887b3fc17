import { describe, expect, it } from 'vitest';

import { offsetInObject } from '../../../iommu/abi/device-object.ts';
import {
  DmaMap,
  RegionInfo,
  VFIO_CHECK_EXTENSION,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_DEVICE_SET_IRQS,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_IOMMU_MAP_DMA,
} from '../../../iommu/abi/vfio.ts';
import { viewOf } from '../../../platform/struct.ts';
import { ioctl } from '../../../tools/with/supervisor/ioctl-call.ts';
import { mmap, pread, pwrite, readvRegion, writevRegion } from '../../../tools/with/supervisor/region-calls.ts';
import { BASE, callOf, FakeMemory, run } from './fake-call.ts';

const CONFIG = 7n << 40n;
const BAR2 = 2n << 40n;
const pid = (): number => 1;
const ioctlOf = (memory: FakeMemory, nr: number, arg: bigint) =>
  ioctl({ socketPath: '/nowhere', mapRegisters: false }, callOf(memory, 3n, BigInt(nr), arg), pid);
const EINVAL = -22;

describe('ioctl', () => {
  it('passes a value as it is', () => {
    const { requests, answer } = run(ioctlOf(new FakeMemory(0), VFIO_CHECK_EXTENSION, 3n), { ret: 1 });
    expect(requests).toEqual([{ op: 'ioctl', fd: 3, nr: VFIO_CHECK_EXTENSION, arg: 3n }]);
    expect(answer).toBe(1);
  });

  it('passes a pointer to nothing as the pointer, so that the kernel says EFAULT', () => {
    const { requests } = run(ioctlOf(new FakeMemory(0), VFIO_IOMMU_MAP_DMA, 8n), { ret: 0 });
    expect(requests).toEqual([{ op: 'ioctl', fd: 3, nr: VFIO_IOMMU_MAP_DMA, arg: 8n }]);
  });

  it('passes the memory that can be read, as much as argsz says', () => {
    const memory = new FakeMemory(8192);
    viewOf(memory.bytes).setUint32(0, 1000, true);
    const { requests } = run(ioctlOf(memory, VFIO_DEVICE_SET_IRQS, BASE), { ret: 0 });
    expect(requests).toMatchObject([{ arg: memory.bytes.subarray(0, 1000) }]);
  });

  it('passes no more than is there', () => {
    const memory = new FakeMemory(24);
    const { requests } = run(ioctlOf(memory, VFIO_IOMMU_MAP_DMA, BASE), { ret: 0 });
    expect(requests).toMatchObject([{ arg: memory.bytes }]);
  });

  it('takes the fd of a container for no argsz', () => {
    const memory = new FakeMemory(8192);
    viewOf(memory.bytes).setUint32(0, 4000, true);
    const { requests } = run(ioctlOf(memory, VFIO_GROUP_SET_CONTAINER, BASE), { ret: 0 });
    expect(requests).toMatchObject([{ arg: memory.bytes.subarray(0, 4) }]);
  });

  it('writes back what the kernel has written, also when it refuses', () => {
    const memory = new FakeMemory(DmaMap.size);
    const steps = ioctlOf(memory, VFIO_IOMMU_MAP_DMA, BASE);
    expect(() => run(steps, { ret: EINVAL, out: Uint8Array.of(1, 2) })).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    );
    expect([...memory.bytes.subarray(0, 3)]).toEqual([1, 2, 0]);
  });

  it('leaves a file that is none of ours to Linux', () => {
    const { answer } = run(ioctlOf(new FakeMemory(64), VFIO_IOMMU_MAP_DMA, BASE), { ret: EINVAL, foreign: true });
    expect(answer).toBe('go on');
  });

  it.each([
    ['memory', { ret: 0, mapping: { offset: 0, registers: false } }, 7, true],
    ['registers', { ret: 0, mapping: { offset: 0, registers: true } }, 3, false],
    ['what cannot be mapped', { ret: EINVAL }, 3, false],
  ])('places a BAR of %s in the object, and tells whether it can be mapped', (_, reply, flags, isRam) => {
    const memory = new FakeMemory(RegionInfo.size);
    const out = RegionInfo.bytes({ argsz: RegionInfo.size, flags: 7, index: 2, size: 4096n, offset: BAR2 });
    const { requests } = run(ioctlOf(memory, VFIO_DEVICE_GET_REGION_INFO, BASE), { ret: 0, out }, reply);
    expect(requests[1]).toMatchObject({ op: 'mmap', fd: 3, offset: BAR2, check: true });
    expect(RegionInfo.read(viewOf(memory.bytes))).toMatchObject({ flags, offset: offsetInObject(BAR2, isRam) });
  });

  it('places a region that is no BAR', () => {
    const memory = new FakeMemory(RegionInfo.size);
    const out = RegionInfo.bytes({ argsz: RegionInfo.size, flags: 3, index: 7, size: 256n, offset: CONFIG });
    run(ioctlOf(memory, VFIO_DEVICE_GET_REGION_INFO, BASE), { ret: 0, out });
    expect(RegionInfo.read(viewOf(memory.bytes))).toMatchObject({ flags: 3, offset: offsetInObject(CONFIG, false) });
  });
});

describe('mmap', () => {
  const mmapOf = (length: bigint, mapRegisters = false) =>
    mmap(callOf(new FakeMemory(0), 0n, length, 3n, 1n, 3n, offsetInObject(BAR2 + 4096n, true)), mapRegisters);

  it('is checked by the kernel and made by Linux', () => {
    const { requests, answer } = run(mmapOf(4096n), { ret: 0, mapping: { offset: 0, registers: false } });
    expect(requests).toEqual([{ op: 'mmap', fd: 3, offset: BAR2 + 4096n, length: 4096, flags: 1, check: true }]);
    expect(answer).toBe('go on');
  });

  it('of more than there is goes on at once, so that Linux says ENOMEM', () => {
    expect(run(mmapOf(1n << 63n))).toEqual({ requests: [], answer: 'go on' });
  });

  it('of another file goes on', () => {
    expect(run(mmapOf(4096n), { ret: EINVAL, foreign: true }).answer).toBe('go on');
  });

  it.each([
    ['the kernel refuses', { ret: EINVAL }],
    ['has registers', { ret: 0, mapping: { offset: 0, registers: true } }],
  ])('of what %s is EINVAL', (_, reply) => {
    expect(() => run(mmapOf(4096n), reply)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });

  it('of registers goes on where the program has a fault handler', () => {
    const reply = { ret: 0, mapping: { offset: 0, registers: true } };
    expect(run(mmapOf(4096n, true), reply).answer).toBe('go on');
  });
});

describe('reads and writes of regions', () => {
  it('read to the caller’s buffer', () => {
    const memory = new FakeMemory(8);
    const steps = pread(callOf(memory, 3n, BASE + 4n, 2n, offsetInObject(CONFIG, false)));
    const { requests, answer } = run(steps, { ret: 2, out: Uint8Array.of(7, 8) });
    expect(requests).toEqual([{ op: 'pread', fd: 3, offset: CONFIG, length: 2 }]);
    expect([answer, ...memory.bytes]).toEqual([2, 0, 0, 0, 0, 7, 8, 0, 0]);
  });

  it('are EFAULT where there is no buffer', () => {
    const reading = pread(callOf(new FakeMemory(0), 3n, BASE, 2n, offsetInObject(CONFIG, false)));
    expect(() => run(reading, { ret: 2, out: Uint8Array.of(7, 8) })).toThrow(
      expect.objectContaining({ code: 'EFAULT' }),
    );
    const writing = pwrite(callOf(new FakeMemory(0), 3n, BASE, 2n, offsetInObject(CONFIG, false)));
    expect(() => run(writing)).toThrow(expect.objectContaining({ code: 'EFAULT' }));
  });

  /** Two iovecs, of 4 bytes each, behind each other. */
  function twoPieces(): FakeMemory {
    const memory = new FakeMemory(64);
    const view = viewOf(memory.bytes);
    for (const i of [0, 1]) {
      view.setBigUint64(16 * i, BASE + 32n + BigInt(4 * i), true);
      view.setBigUint64(16 * i + 8, 4n, true);
    }
    return memory;
  }

  it('with several buffers are one after the other, up to the first that is short', () => {
    const memory = twoPieces();
    const steps = readvRegion(callOf(memory, 3n, BASE, 2n, offsetInObject(CONFIG, false), 0n, 0n), false);
    const { requests, answer } = run(
      steps,
      { ret: 4, out: Uint8Array.of(1, 2, 3, 4) },
      { ret: 1, out: Uint8Array.of(5) },
    );
    expect(requests).toMatchObject([{ offset: CONFIG }, { offset: CONFIG + 4n }]);
    expect([answer, ...memory.bytes.subarray(32, 38)]).toEqual([5, 1, 2, 3, 4, 5, 0]);
  });

  it('with several buffers tell what was done before an error', () => {
    const steps = writevRegion(callOf(twoPieces(), 3n, BASE, 2n, offsetInObject(CONFIG, false), 0n, 0n), false);
    expect(run(steps, { ret: 4 }, { ret: EINVAL }).answer).toBe(4);
  });

  it.each([
    ['EINVAL', 1025n, 0n],
    ['EFAULT', 5n, 0n],
    ['EOPNOTSUPP', 2n, 8n],
  ])('with iovecs or flags that make no sense are %s', (code, count, flags) => {
    const steps = readvRegion(callOf(twoPieces(), 3n, BASE, count, offsetInObject(CONFIG, false), 0n, flags), true);
    expect(() => run(steps)).toThrow(expect.objectContaining({ code }));
  });
});
