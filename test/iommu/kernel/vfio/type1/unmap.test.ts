import { afterEach, describe, expect, it } from 'vitest';
import { DmaUnmap, VFIO_IOMMU_UNMAP_DMA } from '../../../../../iommu/abi/vfio.ts';
import { PROFILE_NAMES } from '../../../../../iommu/kernel/core/profile.ts';
import { UserArg } from '../../../../../iommu/kernel/core/user-arg.ts';
import { FakeMachine, FakeProcess } from '../../../../fakes/fake-machine.ts';
import { ALL, errnoOf, TestContainer, UNMAP_VADDR } from './container.ts';

const PAGE = 4096;
const GET_DIRTY = 1;
const END = 2n ** 64n;

let container: TestContainer;
afterEach(() => container.close());

/** Entries [1,3), [3,5), [6,8) in pages. */
function start(options: ConstructorParameters<typeof TestContainer>[0] = {}): number {
  container = new TestContainer(options);
  const vaddr = container.memory(64 * PAGE);
  for (const first of [1, 3, 6]) container.map(first * PAGE, 2 * PAGE, vaddr + first * PAGE);
  return vaddr;
}

const raw = (arg: number | Uint8Array) => () =>
  container.type1.ioctl(VFIO_IOMMU_UNMAP_DMA, new UserArg(arg), container.process.task());

describe('door (UNM-1, UNM-2)', () => {
  it.each([
    ['a bad pointer', 0, 'EFAULT'],
    ['23 bytes that can be read', new Uint8Array(23), 'EFAULT'],
    ['argsz 23', DmaUnmap.bytes({ argsz: 23, size: 4096n }), 'EINVAL'],
    ['an unknown flag', DmaUnmap.bytes({ argsz: 24, flags: 8, size: 4096n }), 'EINVAL'],
    ['GET_DIRTY with ALL', DmaUnmap.bytes({ argsz: 48, flags: GET_DIRTY | ALL }), 'EINVAL'],
    ['GET_DIRTY with VADDR', DmaUnmap.bytes({ argsz: 48, flags: GET_DIRTY | UNMAP_VADDR, size: 4096n }), 'EINVAL'],
    ['GET_DIRTY with argsz 47', DmaUnmap.bytes({ argsz: 47, flags: GET_DIRTY, size: 4096n }), 'EINVAL'],
    ['GET_DIRTY, the bitmap unreadable', DmaUnmap.bytes({ argsz: 48, flags: GET_DIRTY, size: 4096n }), 'EFAULT'],
  ])('%s', (_name, arg, code) => {
    start();
    expect(errnoOf(raw(arg))).toBe(code);
    expect(container.type1.stats.mappings).toBe(3);
  });
});

describe('range (UNM-4)', () => {
  it.each([
    ['iova off a page', 0x1800n, 0x1000n, 0, 'EINVAL', 'EINVAL'],
    ['size 0', 0x1000n, 0n, 0, 'EINVAL', 'EINVAL'],
    ['size off a page', 0x1000n, 0x800n, 0, 'EINVAL', 'EINVAL'],
    ['wraps', END - 0x1000n, 0x2000n, 0, 'EINVAL', 'EOVERFLOW'],
    ['ALL with iova', 0x1000n, 0n, ALL, 'EINVAL', 'EINVAL'],
    ['ALL with size', 0n, 0x1000n, ALL, 'EINVAL', 'EINVAL'],
    ['ALL|VADDR', 0n, 0n, ALL | UNMAP_VADDR, 'ok', 'ok'],
  ] as const)('%s', (_name, iova, size, flags, in612, in72) => {
    const answers = PROFILE_NAMES.map((profile) => {
      start({ profile });
      return errnoOf(() => container.unmap(iova, size, flags));
    });
    expect(answers).toEqual([in612, in612, in612, in72]);
  });

  it('one that ends at 2^64 finds nothing in 6.12, everything in 7.2', () => {
    start();
    expect(container.unmap(0n, END - 0x1000n)).toBe(0x6000n);
    start();
    expect(container.unmap(0x1000n, END - 0x1000n)).toBe(0n);
    start({ profile: '7.2' });
    expect(container.unmap(0x1000n, END - 0x1000n)).toBe(0x6000n);
  });

  it('UNM-13: on success the struct comes back with the bytes removed, on an error not at all', () => {
    start();
    const arg = new UserArg(DmaUnmap.bytes({ argsz: 24, iova: 0n, size: 0x100000n }));
    container.type1.ioctl(VFIO_IOMMU_UNMAP_DMA, arg, container.process.task());
    expect(DmaUnmap.read(new DataView(arg.output()!.slice().buffer))).toMatchObject({ argsz: 24, size: 0x6000n });
    const bad = new UserArg(DmaUnmap.bytes({ argsz: 24, iova: 0n, size: 0n }));
    expect(errnoOf(() => container.type1.ioctl(VFIO_IOMMU_UNMAP_DMA, bad, container.process.task()))).toBe('EINVAL');
    expect(bad.output()).toBeUndefined();
  });
});

describe('which entries', () => {
  it.each([
    ['UNM-6: splits the first', 2, 3, 'EINVAL', 'ok 0'],
    ['UNM-6: splits the last', 1, 3, 'EINVAL', 'ok 4'],
    ['UNM-6: inside one', 6, 1, 'EINVAL', 'ok 2'],
    ['whole entries', 1, 4, 'ok 4', 'ok 4'],
    ['over a hole', 3, 5, 'ok 4', 'ok 4'],
    ['UNM-8: a hole', 8, 4, 'ok 0', 'ok 0'],
    ['UNM-7: from the second page of one', 4, 4, 'EINVAL', 'ok 0'],
    ['around all', 0, 20, 'ok 6', 'ok 6'],
  ])('%s: [%d, +%d) in v2 and v1', (_name, first, nrPages, v2, v1) => {
    const answers = [true, false].map((isV2) => {
      start({ v2: isV2 });
      const before = container.type1.stats.mappedBytes;
      const code = errnoOf(() => container.unmap(first * PAGE, nrPages * PAGE));
      const removed = (before - container.type1.stats.mappedBytes) / PAGE;
      return code === 'ok' ? `ok ${removed}` : code;
    });
    expect(answers).toEqual([v2, v1]);
  });

  it('UNM-9: stops at the first entry of another address space in 5.12, takes it in later kernels', () => {
    const removed = PROFILE_NAMES.map((profile) => {
      const vaddr = start({ profile });
      const child = new FakeProcess(101);
      child.space.map(container.machine.object(PAGE), {}, vaddr);
      container.map(2 * 16 * PAGE, PAGE, vaddr, 3, child);
      const mine = container.unmapAll();
      const lockedByChild = child.mm.lockedVm;
      return [mine, lockedByChild, container.type1.stats.mappings];
    });
    expect(removed).toEqual([
      [0x6000n, 1, 1],
      [0x7000n, 0, 0],
      [0x7000n, 0, 0],
      [0x7000n, 0, 0],
    ]);
  });
});

it('a device reaches nothing of it once UNMAP has returned, and everything else still', () => {
  start();
  expect([1, 3, 6].map((page) => container.reaches(page * PAGE))).toEqual([true, true, true]);
  container.unmap(3 * PAGE, 2 * PAGE);
  expect([1, 3, 4, 6].map((page) => container.reaches(page * PAGE))).toEqual([true, false, false, true]);
});

describe('UNM-15: pins are let go only after the flush that covers them', () => {
  /** Pages that the device, its IOTLB warm, can reach at the moment of each unpin. */
  function reachedAtUnpin(pages: readonly number[], act: () => void): number[][] {
    const reachable = (): number[] => pages.filter((page) => container.reaches(page * PAGE));
    expect(reachable()).toEqual(pages);
    const reached: number[][] = [];
    const { pinner } = container.machine;
    const unpin = pinner.unpin.bind(pinner);
    pinner.unpin = (run) => {
      reached.push(reachable());
      unpin(run);
    };
    act();
    return reached;
  }

  it('UNMAP of all', () => {
    start();
    expect(reachedAtUnpin([1, 2, 3, 4, 6, 7], () => container.unmapAll())).toEqual([[], [], []]);
  });

  it('UNMAP of some: the others stay reachable', () => {
    start();
    expect(reachedAtUnpin([1, 4, 6], () => container.unmap(PAGE, 4 * PAGE))).toEqual([[6], [6]]);
  });

  it('the last group of the container goes', () => {
    start();
    expect(reachedAtUnpin([1, 4, 6], () => container.type1.detachGroup(container.realGroup))).toEqual([[], [], []]);
  });

  it('a MAP that fails half way', () => {
    container = new TestContainer();
    const vaddr = container.memory(4 * PAGE); // and nothing behind it
    const { pinner } = container.machine;
    const [pin, unpin] = [pinner.pin.bind(pinner), pinner.unpin.bind(pinner)];
    const reached: boolean[] = [];
    const look = (): void => void reached.push(container.reaches(PAGE));
    pinner.pin = (...run) => {
      look();
      return pin(...run);
    };
    pinner.unpin = (run) => {
      look();
      unpin(run);
    };
    expect(errnoOf(() => container.map(PAGE, 6 * PAGE, vaddr))).toBe('EFAULT');
    // at the first pin, at the second, which fails, and at the unpin
    expect(reached).toEqual([false, true, false]);
  });
});

it('NUM-9: pins are let go in batches of 512 regions, long before a long UNMAP is over', () => {
  container = new TestContainer();
  const vaddr = container.memory(PAGE);
  for (let page = 0; page < 600; page++) container.map(page * PAGE, PAGE, vaddr);
  const { pinner } = container.machine;
  const unpin = pinner.unpin.bind(pinner);
  const mappingsLeft = new Set<number>();
  pinner.unpin = (run) => {
    mappingsLeft.add(container.type1.stats.mappings);
    unpin(run);
  };
  container.unmapAll();
  expect([...mappingsLeft]).toEqual([600 - 511, 0]);
});

it('UNM-16: what an entry was charged is given back once, with however many domains it is mapped in', () => {
  start();
  const { driver } = new FakeMachine(); // of another kind: no domain of the first takes its group
  container.type1.attachGroup(container.group(2, [0x30], driver), container.process.task());
  expect(driver.pteWrites).toBeGreaterThan(0);
  expect(container.process.mm.lockedVm).toBe(6);
  container.unmap(PAGE, 4 * PAGE);
  expect(container.process.mm.lockedVm).toBe(2);
  container.unmapAll();
  expect([container.process.mm.lockedVm, container.machine.pinner.pinnedPages]).toEqual([0, 0]);
});
