/**
 * The interleavings of docs/rules/vfio.md, "Races", that type1 can get into, each at the moment at
 * which it drops its lock.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { DirtyBitmap, DmaUnmap, VFIO_IOMMU_DIRTY_PAGES, VFIO_IOMMU_UNMAP_DMA } from '../../../../../iommu/abi/vfio.ts';
import type { ProfileName } from '../../../../../iommu/kernel/core/profile.ts';
import { UserArg } from '../../../../../iommu/kernel/core/user-arg.ts';
import type { DeviceMemory, DeviceMemoryTable } from '../../../../../iommu/kernel/mm/device-memory.ts';
import { SysError } from '../../../../../platform/errno.ts';
import { FakeProcess } from '../../../../fakes/fake-machine.ts';
import { ALL, errnoOf, READ, RW, TestContainer, UNMAP_VADDR, VADDR } from './container.ts';

const PAGE = 4096;
const DIRTY_START = 1;

let container: TestContainer;
let vaddr: number;
afterEach(() => container.close());

/** Entries A [16,20) and B [20,24) in pages, of adjacent memory. */
function start(options: ConstructorParameters<typeof TestContainer>[0] = {}): void {
  container = new TestContainer(options);
  vaddr = container.memory(64 * PAGE);
  if (options.real === false) container.type1.attachGroup(container.emulatedGroup, container.process.task());
  container.map(16 * PAGE, 4 * PAGE, vaddr);
  container.map(20 * PAGE, 4 * PAGE, vaddr + 4 * PAGE);
}

/** In a kernel of 5.12 with a mediated device only; drivers that are asked to unpin do so. */
function startMediated(options: ConstructorParameters<typeof TestContainer>[0] = {}): [number, number][] {
  start({ profile: '5.12', real: false, ...options });
  const asked: [number, number][] = [];
  container.type1.registerDevice({
    dmaUnmap: (vpn, nrPages) => {
      asked.push([vpn, nrPages]);
      container.type1.unpinPages(vpn, nrPages);
    },
  });
  return asked;
}

const invalidate = (vpn: number): bigint => container.unmap(vpn * PAGE, 4 * PAGE, UNMAP_VADDR);
const pin = (vpn: number, nrPages: number, killed?: AbortSignal) =>
  container.type1.pinPages({ group: container.emulatedGroup, vpn, nrPages, prot: RW, ...(killed ? { killed } : {}) });
const unmapping = () => {
  const arg = new UserArg(DmaUnmap.bytes({ argsz: 24, flags: ALL }));
  return container.type1.ioctl(VFIO_IOMMU_UNMAP_DMA, arg, container.process.task()) as Promise<number>;
};
const state = (): unknown => ({
  pinned: container.machine.pinner.pinnedPages,
  locked: container.process.mm.lockedVm,
  ...container.type1.stats,
});
const NOTHING = { pinned: 0, locked: 0, mappings: 0, mappedBytes: 0, invalidVaddrs: 0 };

const settle = async (promise: Promise<unknown>): Promise<string> => {
  const seen = { text: 'asleep' };
  promise.then(
    () => {
      seen.text = 'ok';
    },
    (error: unknown) => {
      seen.text = error instanceof SysError ? error.code : String(error);
    },
  );
  await turn();
  return seen.text;
};

describe('who sleeps on an invalid vaddr (5.12)', () => {
  it('RACE-1: pin_pages that waits for its last page holds none of the first: UNMAP of that asks nobody', async () => {
    const asked = startMediated();
    invalidate(20);
    const sleeper = pin(19, 2);
    expect(await settle(sleeper)).toBe('asleep');
    expect(container.unmap(16 * PAGE, 4 * PAGE)).toBe(0x4000n);
    container.map(20 * PAGE, 4 * PAGE, vaddr, VADDR);
    expect(await settle(sleeper)).toBe('EINVAL');
    expect([asked, container.machine.pinner.pinnedPages]).toEqual([[], 0]);
  });

  it('RACE-2, VAD-2: uses the entry that is there when it wakes, not the one it slept on', async () => {
    startMediated();
    const other = container.memory(4 * PAGE);
    container.process.space.write(other, Uint8Array.of(0x77));
    invalidate(16);
    const data = new Uint8Array(1);
    const caller = container.process.task();
    const reading = container.access({ vpn: 16, offset: 0, data, write: false, caller, killed: caller.killed });
    const pinning = pin(16, 1);
    expect([await settle(reading), await settle(pinning)]).toEqual(['asleep', 'asleep']);
    container.unmap(16 * PAGE, 4 * PAGE);
    container.map(16 * PAGE, PAGE, other);
    expect([await settle(reading), await settle(pinning)]).toEqual(['ok', 'ok']);
    expect(data[0]).toBe(0x77);
    const [direct] = await pin(16, 1);
    expect(await pinning).toEqual([direct]);
  });

  it('RACE-3: a kernel thread that nobody ever wakes ends when it is told to stop', async () => {
    startMediated();
    invalidate(16);
    const stop = new AbortController();
    const access = container.access({
      vpn: 16,
      offset: 0,
      data: new Uint8Array(8),
      write: true,
      killed: stop.signal,
    });
    const pinning = pin(16, 1, stop.signal);
    expect([await settle(access), await settle(pinning)]).toEqual(['asleep', 'asleep']);
    stop.abort();
    expect([await settle(access), await settle(pinning)]).toEqual(['EFAULT', 'EFAULT']);
  });

  it('RACE-6: a group that comes while vaddrs are invalid is not given translations of the old memory', async () => {
    startMediated();
    const moved = container.memory(64 * PAGE);
    invalidate(16);
    const attaching = container.type1.attachGroup(container.realGroup, container.process.task()) as Promise<void>;
    expect(await settle(attaching)).toBe('asleep');
    container.map(16 * PAGE, 4 * PAGE, moved, VADDR);
    expect(await settle(attaching)).toBe('ok');
    container.process.space.write(moved, Uint8Array.of(0x66));
    expect(container.peek(16 * PAGE)).toBe(0x66);
  });

  it('RACE-9, CORE-11: the close of the container ends pin_pages and dma_rw, and leaves the entries', async () => {
    startMediated();
    invalidate(16);
    const access = container.access({ vpn: 16, offset: 0, data: new Uint8Array(8), write: false });
    const pinning = pin(16, 1);
    expect([await settle(access), await settle(pinning)]).toEqual(['asleep', 'asleep']);
    container.type1.containerClosed();
    expect([await settle(access), await settle(pinning)]).toEqual(['EFAULT', 'EFAULT']);
    expect(container.type1.stats).toMatchObject({ mappings: 2, invalidVaddrs: 1 });
  });

  it('VAD-4: no listener and a right too many are told only after the wake', async () => {
    start({ profile: '5.12', real: false });
    container.map(40 * PAGE, 4 * PAGE, vaddr, READ);
    invalidate(16);
    invalidate(40);
    const unregistered = pin(16, 1);
    expect(await settle(unregistered)).toBe('asleep');
    container.map(16 * PAGE, 4 * PAGE, vaddr, VADDR);
    expect(await settle(unregistered)).toBe('EINVAL');
    container.type1.registerDevice({ dmaUnmap: () => {} });
    const forbidden = pin(40, 1);
    expect(await settle(forbidden)).toBe('asleep');
    container.map(40 * PAGE, 4 * PAGE, vaddr, VADDR);
    expect(await settle(forbidden)).toBe('EPERM');
  });

  it('VAD-7: is woken by any MAP VADDR and any removal of an invalid entry, and sleeps on if it was not its own', async () => {
    startMediated();
    container.map(40 * PAGE, 4 * PAGE, vaddr);
    for (const vpn of [16, 20, 40]) invalidate(vpn);
    const sleeper = pin(16, 1);
    container.map(20 * PAGE, 4 * PAGE, vaddr, VADDR);
    expect(await settle(sleeper)).toBe('asleep');
    container.unmap(40 * PAGE, 4 * PAGE);
    expect(await settle(sleeper)).toBe('asleep');
    container.map(16 * PAGE, 4 * PAGE, vaddr, VADDR);
    expect(await settle(sleeper)).toBe('ok');
  });

  it('VAD-11: holds up neither MAP, UNMAP, DIRTY_PAGES and GET_INFO nor a device', async () => {
    startMediated({ real: true });
    container.type1.attachGroup(container.emulatedGroup, container.process.task());
    invalidate(16);
    const sleeper = pin(16, 1);
    expect(await settle(sleeper)).toBe('asleep');
    expect(errnoOf(() => container.map(40 * PAGE, PAGE, vaddr))).toBe('ok');
    expect(container.unmap(20 * PAGE, 4 * PAGE)).toBe(0x4000n);
    const arg = new UserArg(DirtyBitmap.bytes({ argsz: 8, flags: DIRTY_START }));
    expect(container.type1.ioctl(VFIO_IOMMU_DIRTY_PAGES, arg, container.process.task())).toBe(0);
    expect(container.dmaAvail()).toBe(65535 - 2);
    expect([container.reaches(16 * PAGE), container.reaches(40 * PAGE)]).toEqual([true, true]);
    container.map(16 * PAGE, 4 * PAGE, vaddr, VADDR);
    expect(await settle(sleeper)).toBe('ok');
  });
});

describe('an exec update', () => {
  /** execve, and the same memory at another vaddr. */
  function exec(): number {
    const [vma] = container.process.space.vmas;
    container.process.exec();
    return container.process.space.map(vma!.object);
  }

  it.each([
    ['6.12', 8, 'ENOMEM'],
    ['5.12', 0, 'ok'],
    ['6.2', 0, 'ok'],
  ] as const)(
    'RACE-5, VAD-14: of %s charges the new image %i pages, and its next MAP at the limit is %s',
    (profile, locked, next) => {
      start({ profile });
      container.unmap(0, 0, ALL | UNMAP_VADDR);
      vaddr = exec();
      for (const vpn of [16, 20]) container.map(vpn * PAGE, 4 * PAGE, vaddr, VADDR);
      expect(container.process.mm.lockedVm).toBe(locked);
      container.process.ipcLock = false;
      container.process.memlockPages = 8;
      expect(errnoOf(() => container.map(40 * PAGE, PAGE, vaddr))).toBe(next);
    },
  );

  it('RACE-6, VAD-15: in 6.3+ no group, pin or access is let in while a vaddr is invalid', async () => {
    start();
    invalidate(16);
    expect(errnoOf(() => container.type1.attachGroup(container.emulatedGroup, container.process.task()))).toBe('EBUSY');
    expect(await settle(pin(20, 1))).toBe('EBUSY');
    const access = container.access({ vpn: 20, offset: 0, data: new Uint8Array(1), write: false });
    expect(await settle(access)).toBe('EBUSY');
  });

  it('RACE-32, CPR-2: of two containers, when the second cannot be invalidated, gives the first its vaddrs back', () => {
    start();
    const first = container;
    start();
    invalidate(16);
    expect(first.unmap(0, 0, ALL | UNMAP_VADDR)).toBe(0x8000n);
    expect(errnoOf(() => container.unmap(0, 0, ALL | UNMAP_VADDR))).toBe('EINVAL');
    expect(container.type1.stats.invalidVaddrs).toBe(1);
    const [vma] = first.process.space.vmas;
    for (const vpn of [16, 20]) first.map(vpn * PAGE, 4 * PAGE, vma!.start, VADDR);
    expect(first.type1.stats.invalidVaddrs).toBe(0);
    first.close();
  });

  it('RACE-36, CPR-3: with RAM of another size cannot give an entry its vaddr; only UNMAP helps', () => {
    start();
    container.unmap(0, 0, ALL | UNMAP_VADDR);
    vaddr = exec();
    expect(errnoOf(() => container.map(16 * PAGE, 8 * PAGE, vaddr, VADDR))).toBe('EINVAL');
    expect(errnoOf(() => container.map(16 * PAGE, 2 * PAGE, vaddr, VADDR))).toBe('EINVAL');
    expect(errnoOf(() => container.map(16 * PAGE, 4 * PAGE, vaddr))).toBe('EEXIST');
    container.unmap(16 * PAGE, 4 * PAGE);
    expect(errnoOf(() => container.map(16 * PAGE, 2 * PAGE, vaddr))).toBe('ok');
    expect(container.type1.stats.invalidVaddrs).toBe(1);
  });
});

describe('an UNMAP that sleeps until drivers have unpinned (UNM-11)', () => {
  /** A driver that unpins when told to; with one page of A pinned. */
  async function startSlowDriver(): Promise<() => void> {
    start({ real: false });
    let unpin = (): void => {};
    container.type1.registerDevice({
      dmaUnmap: async (vpn, nrPages) => {
        await new Promise<void>((resolve) => {
          unpin = resolve;
        });
        if (container.type1.stats.mappings > 0) container.type1.unpinPages(vpn, nrPages);
      },
    });
    await pin(16, 1);
    return () => unpin();
  }

  it('RACE-19, ATT-10: finds nothing left when the last group has gone meanwhile, with all entries and pins', async () => {
    const unpin = await startSlowDriver();
    const unmap = unmapping();
    expect(await settle(unmap)).toBe('asleep');
    container.type1.unpinPages(16, 1); // the device is closed first
    container.type1.release();
    unpin();
    expect(await unmap).toBe(0);
    expect(state()).toEqual(NOTHING);
  });

  it('RACE-20: goes on when the device is closed and unregistered meanwhile', async () => {
    start({ real: false });
    const asked: string[] = [];
    let closed = (): void => {};
    const device = {
      dmaUnmap: async () => {
        asked.push('device');
        await new Promise<void>((resolve) => {
          closed = resolve;
        });
      },
    };
    container.type1.registerDevice(device);
    await pin(16, 1);
    await pin(20, 1);
    const unmap = unmapping();
    expect(await settle(unmap)).toBe('asleep');
    container.type1.unpinPages(16, 1); // its close: unpins all, hears of no unmap any more
    container.type1.unpinPages(20, 1);
    container.type1.unregisterDevice(device);
    closed();
    expect(await unmap).toBe(0);
    expect([asked, state()]).toEqual([['device'], NOTHING]);
  });

  it('UNM-11: is success with what it has done when somebody maps over the end of its range meanwhile', async () => {
    const unpin = await startSlowDriver();
    const arg = new UserArg(DmaUnmap.bytes({ argsz: 24, iova: BigInt(15 * PAGE), size: BigInt(20 * PAGE) }));
    container.unmap(20 * PAGE, 4 * PAGE);
    const unmap = container.type1.ioctl(VFIO_IOMMU_UNMAP_DMA, arg, container.process.task()) as Promise<number>;
    expect(await settle(unmap)).toBe('asleep');
    container.map(34 * PAGE, 4 * PAGE, vaddr); // straddles the end
    unpin();
    expect(await unmap).toBe(0);
    expect(DmaUnmap.read(new DataView(arg.output()!.slice().buffer)).size).toBe(0n);
    expect(container.type1.stats.mappings).toBe(2);
  });
});

describe('pins', () => {
  it('RACE-11: the same untouched private page, pinned over and over, leaves nothing behind', async () => {
    startMediated();
    const private_ = container.machine.anonymous(container.process.space, PAGE);
    container.map(40 * PAGE, PAGE, private_);
    for (let i = 0; i < 1000; i++) await pin(40, 1);
    expect([container.machine.pinner.pinnedPages, container.process.mm.lockedVm]).toEqual([1, 1]);
    for (let i = 0; i < 1000; i++) container.type1.unpinPages(40, 1);
    expect([container.machine.pinner.pinnedPages, container.process.mm.lockedVm]).toEqual([0, 0]);
    expect(container.machine.board.attached.size).toBe(0);
  });

  it('RACE-30: of one page are not those of its neighbour', async () => {
    startMediated();
    await pin(17, 1);
    expect(container.process.mm.lockedVm).toBe(1);
    await pin(16, 1);
    await pin(18, 1);
    expect(container.process.mm.lockedVm).toBe(3);
    container.type1.unpinPages(16, 1);
    container.type1.unpinPages(18, 1);
    expect([container.process.mm.lockedVm, container.machine.pinner.pinnedPages]).toEqual([1, 1]);
    container.type1.unpinPages(17, 1);
  });

  /**
   * A machine with a BAR of four pages at pfn 0xfea00; the vaddr of its second page, mapped by the
   * process.
   */
  function startWithBar(profile: ProfileName): number {
    let ino = 0;
    const bar: DeviceMemory = { objectOffset: 0, startPfn: 0xfea00, nrPages: 4, answers: () => true, users: new Set() };
    const bars = { find: (vma: { readonly inode: number }) => (vma.inode === ino ? bar : undefined) };
    startMediated({ profile, machine: { bars: bars as unknown as DeviceMemoryTable } });
    const object = container.machine.object(4 * PAGE);
    ino = object.ino;
    return container.process.space.map(object, { offset: PAGE, size: 2 * PAGE });
  }

  it.each([
    ['5.12', 'ok'],
    ['6.2', 'EINVAL'],
    ['6.12', 'EINVAL'],
    ['7.2', 'EINVAL'],
  ] as const)('RACE-29, MDV-6: of device memory in %s: %s, charged to nobody', async (profile, answer) => {
    const bar = startWithBar(profile);
    container.map(40 * PAGE, PAGE, bar);
    expect(await settle(pin(40, 1))).toBe(answer);
    expect([container.machine.pinner.pinnedPages, container.process.mm.lockedVm]).toEqual([0, 0]);
    container.type1.unpinPages(40, 1);
  });

  it('RACE-17: of device memory are of the page that is mapped there, not of its first', async () => {
    const bar = startWithBar('5.12');
    container.map(40 * PAGE, 2 * PAGE, bar);
    expect(await pin(40, 2)).toEqual([0xfea01, 0xfea02]);
    container.type1.unpinPages(40, 2);
  });
});

describe('dirty tracking', () => {
  it('RACE-12, MAP-14: START that fails at one entry leaves no bitmap and no tracking, and can be done again', () => {
    start({ real: false });
    const large = 2n ** 31n * 4096n;
    container.map(2n ** 44n, large, 2n ** 44n); // one bit more than a bitmap may have
    const begin = () => {
      const arg = new UserArg(DirtyBitmap.bytes({ argsz: 8, flags: DIRTY_START }));
      return container.type1.ioctl(VFIO_IOMMU_DIRTY_PAGES, arg, container.process.task());
    };
    expect(errnoOf(begin)).toBe('EINVAL');
    container.unmap(2n ** 44n, large);
    expect(errnoOf(begin)).toBe('ok');
    expect(errnoOf(() => container.map(2n ** 44n, large, 2n ** 44n))).toBe('EINVAL');
    expect(container.type1.stats.mappings).toBe(2);
  });
});

describe('attach', () => {
  it('RACE-14, ATT-11: probes no iova: a group may reserve the first page', () => {
    container = new TestContainer({ real: false });
    Object.assign(container.machine.driver, {
      reservedRegions: () => [{ vpn: 0, nrPages: 1, type: 'reserved' }],
    });
    const { pteWrites } = container.machine.driver;
    expect(errnoOf(() => container.type1.attachGroup(container.realGroup, container.process.task()))).toBe('ok');
    expect(container.machine.driver.pteWrites).toBe(pteWrites);
  });

  it('RACE-27, ATT-5: the doorbell of a domain is mapped once for all groups in it', () => {
    container = new TestContainer({ machine: { unit: { msiFlat: false } } });
    const { pteWrites } = container.machine.driver;
    container.type1.attachGroup(container.group(2, [0x30]), container.process.task());
    expect(container.machine.driver.pteWrites).toBe(pteWrites);
    const send = (did: number): boolean => {
      const port = container.machine.port(did);
      const sent = port.write32(0x8000, 0, 1);
      port.idle();
      return sent;
    };
    expect([send(0x20), send(0x30)]).toEqual([true, true]);
    container.type1.detachGroup(container.realGroup);
    expect(send(0x30)).toBe(true);
  });
});

it('RACE-15, NUM-9: no more entries than dma_entry_limit, 65535 unless told otherwise, however small', () => {
  container = new TestContainer({ parameters: { dmaEntryLimit: 3, allowUnsafeInterrupts: false } });
  vaddr = container.memory(PAGE);
  const codes = [0, 1, 2, 3].map((page) => errnoOf(() => container.map(page * PAGE, PAGE, vaddr)));
  expect(codes).toEqual(['ok', 'ok', 'ok', 'ENOSPC']);
  const other = new TestContainer();
  expect(other.dmaAvail()).toBe(65535);
  other.close();
});

it('VAD-16: the same entries may be given to a child process of another address space', () => {
  start();
  const child = new FakeProcess(101);
  const [vma] = container.process.space.vmas;
  const at = child.space.map(vma!.object);
  container.unmap(0, 0, ALL | UNMAP_VADDR);
  for (const vpn of [16, 20]) container.map(vpn * PAGE, 4 * PAGE, at, VADDR, child);
  expect([container.process.mm.lockedVm, child.mm.lockedVm]).toEqual([0, 8]);
  expect(container.reaches(16 * PAGE)).toBe(true);
});
