/**
 * Long work of one container: others go on, calls on the same container wait, and nothing is seen
 * half done.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  DirtyBitmap,
  DirtyBitmapGet,
  DmaUnmap,
  VFIO_DMA_UNMAP_FLAG_ALL,
  VFIO_IOMMU_DIRTY_PAGES,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
  VFIO_IOMMU_DIRTY_PAGES_FLAG_START,
  VFIO_IOMMU_MAP_DMA,
  VFIO_IOMMU_UNMAP_DMA,
  VFIO_TYPE1v2_IOMMU,
} from '../../../../../iommu/abi/vfio.ts';
import { UserArg } from '../../../../../iommu/kernel/core/user-arg.ts';
import type { Type1 } from '../../../../../iommu/kernel/vfio/type1/type1.ts';
import { dmaMapArg, dmaUnmapArg } from '../../../../../vmm/client/dma.ts';
import { RW, TestContainer } from './container.ts';

const PAGE = 4096;
const VMAS = 50;

let container: TestContainer;
/** Of VMAS mappings of the process, one page each. */
let vaddr: number;
beforeEach(() => {
  container = new TestContainer({ sliceMs: 0 });
  vaddr = manyMappings(container);
});
afterEach(async () => {
  await container.type1.release();
  container.machine.close();
});

function manyMappings({ process, machine }: TestContainer): number {
  const object = machine.object(VMAS * PAGE);
  const start = process.space.map(object, { size: PAGE });
  for (let i = 1; i < VMAS; i++) process.space.map(object, { offset: i * PAGE, size: PAGE }, start + i * PAGE);
  return start;
}

function map(type1: Type1, iova: number, nrPages: number, at = vaddr): number | Promise<number> {
  const arg = dmaMapArg({ iova, size: nrPages * PAGE, vaddr: at });
  return type1.ioctl(VFIO_IOMMU_MAP_DMA, new UserArg(arg), container.process.task());
}

/** Bytes that were unmapped. */
async function unmapAll(type1: Type1): Promise<number> {
  const arg = new UserArg(dmaUnmapArg({ iova: 0, size: 0 }, VFIO_DMA_UNMAP_FLAG_ALL));
  await type1.ioctl(VFIO_IOMMU_UNMAP_DMA, arg, container.process.task());
  return Number(DmaUnmap.read(new DataView(arg.output()!.slice().buffer)).size);
}

describe('a MAP_DMA over many mappings', () => {
  it('goes on while another container is served', async () => {
    const other = container.open(VFIO_TYPE1v2_IOMMU);
    await other.attachGroup(container.group(2, [0x30]), container.process.task());
    const long = map(container.type1, 0, VMAS);
    expect(long).toBeInstanceOf(Promise);
    await map(other, 0, 1);
    expect([other.stats.mappings, container.type1.stats.mappings]).toEqual([1, 0]);
    await long;
    expect(container.type1.stats.mappings).toBe(1);
    expect(container.machine.pinner.pinnedPages).toBe(VMAS + 1);
    await other.release();
  });

  it('keeps calls on the same container waiting, in the order they came', async () => {
    const order: string[] = [];
    const note = (what: string) => (): number => order.push(what);
    const calls = [
      Promise.resolve(map(container.type1, 0, VMAS)).then(note('long')),
      Promise.resolve(map(container.type1, 0x100_0000, 1)).then(note('short')),
      unmapAll(container.type1).then((bytes) => order.push(`unmapped ${bytes / PAGE}`)),
      Promise.resolve(map(container.type1, 0, 1)).then(note('mapped again')),
    ];
    await Promise.all(calls);
    expect(order).toEqual(['long', 'short', `unmapped ${VMAS + 1}`, 'mapped again']);
    expect(container.machine.pinner.pinnedPages).toBe(1);
  });

  it('of a process that is killed ends at once, and nothing of it stays', async () => {
    const long = map(container.type1, 0, VMAS);
    container.process.exit();
    await expect(long).rejects.toMatchObject({ code: 'EINTR' });
    expect(container.type1.stats.mappings).toBe(0);
    expect(container.machine.pinner.pinnedPages).toBe(0);
    expect(container.reaches(0)).toBe(false);
  });

  it('that meets a hole is undone in slices, too: whoever waits sees none of it', async () => {
    container.process.space.unmap(vaddr + (VMAS - 1) * PAGE, PAGE);
    const long = map(container.type1, 0, VMAS);
    const next = map(container.type1, 0, VMAS - 1);
    await expect(long).rejects.toMatchObject({ code: 'EFAULT' });
    await next;
    expect(container.machine.pinner.pinnedPages).toBe(VMAS - 1);
  });

  it('is over before the last group leaves; a call that came later finds no driver', async () => {
    const long = map(container.type1, 0, VMAS);
    const detached = container.type1.detachGroup(container.realGroup);
    const released = container.type1.release();
    const late = map(container.type1, 0x100_0000, 1);
    await Promise.all([long, detached, released]);
    await expect(late).rejects.toMatchObject({ code: 'EINVAL' });
    expect(container.machine.pinner.pinnedPages).toBe(0);
  });
});

describe('dirty tracking of many mappings', () => {
  const ENTRIES = 50;
  beforeEach(async () => {
    for (let i = 0; i < ENTRIES; i++) await map(container.type1, i * PAGE, 1);
  });

  function dirtyPages(flags: number, range?: Uint8Array): number | Promise<number> {
    const argsz = DirtyBitmap.size + (range?.length ?? 0);
    const arg = DirtyBitmap.bytes({ argsz, flags }, argsz);
    if (range) arg.set(range, DirtyBitmap.size);
    return container.type1.ioctl(VFIO_IOMMU_DIRTY_PAGES, new UserArg(arg), container.process.task());
  }
  const start = (): number | Promise<number> => dirtyPages(VFIO_IOMMU_DIRTY_PAGES_FLAG_START);

  /** Of iovas from 0 on, into 8 bytes of the process at vaddr `data`. */
  const getBitmap = (nrPages: number, data: number): number | Promise<number> =>
    dirtyPages(
      VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP,
      DirtyBitmapGet.bytes({
        ...{ iova: 0n, size: BigInt(nrPages * PAGE) },
        ...{ 'bitmap.pgsize': BigInt(PAGE), 'bitmap.size': 8n, 'bitmap.data': BigInt(data) },
      }),
    );

  function bitsAt(vaddr: number): bigint {
    const bits = new Uint8Array(8);
    container.process.space.read(vaddr, bits);
    return Buffer.from(bits).readBigUInt64LE();
  }

  it('begins in slices, and a MAP_DMA that comes meanwhile gets a bitmap, too', async () => {
    const started = start();
    expect(started).toBeInstanceOf(Promise);
    const mapped = map(container.type1, ENTRIES * PAGE, 1);
    expect(container.type1.stats.mappings).toBe(ENTRIES);
    await Promise.all([started, mapped]);
    const data = container.memory(PAGE);
    expect(await getBitmap(ENTRIES + 1, data)).toBe(0);
    expect(bitsAt(data)).toBe((1n << BigInt(ENTRIES + 1)) - 1n);
  });

  it('is reported in slices: another container is served, calls on this one wait', async () => {
    await start();
    const other = container.open(VFIO_TYPE1v2_IOMMU);
    await other.attachGroup(container.group(2, [0x30]), container.process.task());
    const data = container.memory(PAGE);
    const reported = getBitmap(ENTRIES, data);
    expect(reported).toBeInstanceOf(Promise);
    await map(other, 0, 1);
    const unmapped = unmapAll(container.type1);
    expect(container.type1.stats.mappings).toBe(ENTRIES);
    expect(await reported).toBe(0);
    expect(bitsAt(data)).toBe((1n << BigInt(ENTRIES)) - 1n);
    expect(await unmapped).toBe(ENTRIES * PAGE);
    await other.release();
  });
});

describe('a container in the middle of long work', () => {
  const pagesAndMappings = (): number[] => [
    container.machine.pinner.pinnedPages,
    container.type1.stats.mappedBytes / PAGE,
  ];

  it('is told of as busy, as its pins are not what is mapped: MAP_DMA', async () => {
    expect(container.driver.busyContainers).toBe(0);
    const long = map(container.type1, 0, VMAS);
    const [pinned, mapped] = pagesAndMappings();
    expect([pinned! > mapped!, container.driver.busyContainers]).toEqual([true, 1]);
    await long;
    expect([...pagesAndMappings(), container.driver.busyContainers]).toEqual([VMAS, VMAS, 0]);
  });

  it('is so until a call that fails has given back what it had', async () => {
    container.process.space.unmap(vaddr + (VMAS - 1) * PAGE, PAGE);
    const long = map(container.type1, 0, VMAS);
    expect(container.driver.busyContainers).toBe(1);
    await expect(long).rejects.toMatchObject({ code: 'EFAULT' });
    expect([...pagesAndMappings(), container.driver.busyContainers]).toEqual([0, 0, 0]);
  });

  it('is so while it goes, with all others', async () => {
    const other = container.open(VFIO_TYPE1v2_IOMMU);
    await other.attachGroup(container.group(2, [0x30]), container.process.task());
    await map(container.type1, 0, VMAS);
    await map(other, 0, VMAS);
    const released = [container.type1.release(), other.release()];
    expect(container.driver.busyContainers).toBe(2);
    await Promise.all(released);
    expect([container.machine.pinner.pinnedPages, container.driver.busyContainers]).toEqual([0, 0]);
  });
});

describe('who needs a lasting state of the container', () => {
  beforeEach(async () => {
    await container.type1.attachGroup(container.emulatedGroup, container.process.task());
    container.type1.registerDevice({ dmaUnmap: () => undefined });
  });

  it('an access of a mediated device waits for the lock', async () => {
    await map(container.type1, 0, VMAS);
    const unmapping = unmapAll(container.type1);
    const access = container.type1.dmaRw({ vpn: VMAS - 1, offset: 0, data: new Uint8Array(1), write: false });
    await unmapping;
    await expect(access).rejects.toMatchObject({ code: 'EINVAL' });
  });

  it('a pin of a mediated device waits for the lock, and so does its end', async () => {
    await map(container.type1, 0, VMAS);
    const request = { group: container.emulatedGroup, vpn: 3, nrPages: 2, prot: RW };
    expect(await container.type1.pinPages(request)).toHaveLength(2);
    const long = map(container.type1, 0x100_0000, VMAS);
    const unpinned = container.type1.unpinPages(3, 2);
    const pinned = container.type1.pinPages(request);
    expect(unpinned).toBeInstanceOf(Promise);
    await long;
    expect([await unpinned, (await pinned).length]).toEqual([2, 2]);
    container.type1.unpinPages(3, 2);
  });

  it('a group that comes has all mappings, those under way too', async () => {
    const long = map(container.type1, 0, VMAS);
    const attached = container.type1.attachGroup(container.group(9, [0x40]), container.process.task());
    await Promise.all([long, attached]);
    expect(container.reaches((VMAS - 1) * PAGE, 0x40)).toBe(true);
  });
});
