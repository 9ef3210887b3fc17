import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { DmaUnmap, VFIO_IOMMU_UNMAP_DMA } from '../../../../../iommu/abi/vfio.ts';
import type { Task } from '../../../../../iommu/kernel/core/task.ts';
import { UserArg } from '../../../../../iommu/kernel/core/user-arg.ts';
import { SysError } from '../../../../../platform/errno.ts';
import { FakeObject, FakeProcess } from '../../../../fakes/fake-machine.ts';
import { READ, RW, TestContainer, UNMAP_VADDR, VADDR } from './container.ts';

const PAGE = 4096;

let container: TestContainer;
let vaddr: number;
afterEach(() => container.close());

/** Entries [16,20) and [20,22) in pages; only a mediated group unless `real`. */
function start(options: ConstructorParameters<typeof TestContainer>[0] = {}): void {
  container = new TestContainer({ real: false, ...options });
  container.type1.attachGroup(container.emulatedGroup, container.process.task());
  vaddr = container.memory(64 * PAGE);
  container.map(16 * PAGE, 4 * PAGE, vaddr);
  container.map(20 * PAGE, 2 * PAGE, vaddr + 8 * PAGE);
}

const settle = async (promise: Promise<unknown>): Promise<string> => {
  const state = { text: 'asleep' };
  promise.then(
    () => {
      state.text = 'ok';
    },
    (error: unknown) => {
      state.text = error instanceof SysError ? error.code : String(error);
    },
  );
  await turn();
  return state.text;
};

const pin = (vpn: number, nrPages: number, prot = RW) =>
  container.type1.pinPages({
    group: container.emulatedGroup,
    vpn,
    nrPages,
    prot,
    killed: container.process.task().killed,
  });
const read = (vpn: number, length = 8, offset = 0) => {
  const data = new Uint8Array(length);
  const caller = container.process.task();
  return container.access({ vpn, offset, data, write: false, caller, killed: caller.killed }).then(() => data);
};
const write = (vpn: number, offset: number, data: Uint8Array) =>
  container.access({ vpn, offset, data, write: true, caller: container.process.task() });
const listen = (dmaUnmap: (vpn: number, nrPages: number) => void | Promise<void> = () => {}) => {
  const listener = { dmaUnmap };
  container.type1.registerDevice(listener);
  return listener;
};

describe('pin_pages', () => {
  it.each([
    ['a page outside', 15, 2, RW, 'EINVAL'],
    ['over two entries', 19, 2, RW, 'ok'],
    ['beyond the last', 21, 2, RW, 'EINVAL'],
    ['wrapping', 2 ** 52 - 1, 2, RW, 'EINVAL'],
  ])('MDV-2: %s, all or nothing', async (_name, vpn, nrPages, prot, code) => {
    start();
    listen();
    expect(await settle(pin(vpn, nrPages, prot))).toBe(code);
    const pages = code === 'ok' ? nrPages : 0;
    expect([container.machine.pinner.pinnedPages, container.process.mm.lockedVm]).toEqual([pages, pages]);
  });

  it('MDV-2: v1 is EACCES, nobody registered EINVAL, a right too many EPERM', async () => {
    start({ v2: false });
    listen();
    expect(await settle(pin(16, 1))).toBe('EACCES');
    start();
    expect(await settle(pin(16, 1))).toBe('EINVAL');
    listen();
    container.map(40 * PAGE, PAGE, vaddr, READ);
    expect([await settle(pin(40, 1)), await settle(pin(40, 1, READ))]).toEqual(['EPERM', 'ok']);
  });

  it('MDV-3: pages are counted per pin, charged once, and not at all beside a real domain', async () => {
    start();
    listen();
    const [first] = await pin(16, 1);
    expect(await pin(16, 1)).toEqual([first]);
    expect(container.process.mm.lockedVm).toBe(1);
    container.type1.unpinPages(16, 1);
    expect(container.process.mm.lockedVm).toBe(1);
    container.type1.unpinPages(16, 1);
    expect(container.process.mm.lockedVm).toBe(0);

    start({ real: true });
    listen();
    await pin(16, 1);
    expect(container.process.mm.lockedVm).toBe(6);
  });

  it('ACC-2, ATT-8, RACE-31: a real group does not charge what is pinned; when it leaves only that stays charged', async () => {
    start();
    listen();
    await pin(16, 1);
    container.type1.attachGroup(container.realGroup, container.process.task());
    expect(container.process.mm.lockedVm).toBe(6);
    container.type1.detachGroup(container.realGroup);
    expect([container.process.mm.lockedVm, container.machine.pinner.pinnedPages]).toEqual([1, 1]);
    container.type1.unpinPages(16, 1);
    expect([container.process.mm.lockedVm, container.machine.pinner.pinnedPages]).toEqual([0, 0]);
  });

  it('MDV-4: unpin stops at the first page of no mapping, and ignores one that is not pinned', () => {
    start();
    expect(container.type1.unpinPages(21, 5)).toBe(1);
    expect(() => container.type1.unpinPages(22, 1)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
  });
});

describe('unmap of pinned pages (UNM-11)', () => {
  it('asks the drivers once per entry, with its whole range, in order, and then removes it', async () => {
    start();
    const asked: [number, number][] = [];
    listen((vpn, nrPages) => {
      asked.push([vpn, nrPages]);
      container.type1.unpinPages(vpn, nrPages);
    });
    await pin(17, 1);
    await pin(20, 1);
    expect(container.unmapAll()).toBe(0x6000n);
    expect(asked).toEqual([
      [16, 4],
      [20, 2],
    ]);
    expect([container.process.mm.lockedVm, container.machine.pinner.pinnedPages]).toEqual([0, 0]);
  });

  it('sleeps while a driver unpins, and others may map meanwhile', async () => {
    start();
    let unpinned = (): void => {};
    listen(async (vpn, nrPages) => {
      await new Promise<void>((resolve) => {
        unpinned = resolve;
      });
      container.type1.unpinPages(vpn, nrPages);
    });
    await pin(20, 1);
    const arg = new UserArg(DmaUnmap.bytes({ argsz: 24, iova: 0n, size: 0x100000n }));
    const unmapping = container.type1.ioctl(VFIO_IOMMU_UNMAP_DMA, arg, container.process.task()) as Promise<number>;
    expect(await settle(unmapping)).toBe('asleep');
    expect(container.type1.stats.mappings).toBe(1);
    container.map(48 * PAGE, PAGE, vaddr);
    unpinned();
    expect(await unmapping).toBe(0);
    expect(DmaUnmap.read(new DataView(arg.output()!.slice().buffer)).size).toBe(0x7000n);
    expect(container.type1.stats.mappings).toBe(0);
  });

  it('nobody is asked when the call is refused', async () => {
    start();
    listen(() => {
      throw new Error('asked');
    });
    await pin(16, 1);
    expect(() => container.unmap(16 * PAGE, PAGE)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    container.type1.unpinPages(16, 1);
  });

  it('asks every driver', async () => {
    start();
    listen();
    listen((vpn, nrPages) => void container.type1.unpinPages(vpn, nrPages));
    await pin(17, 1);
    expect(container.unmapAll()).toBe(0x6000n);
  });

  it('asks again and again where a driver takes its time, for each entry anew', async () => {
    start();
    let asked = 0;
    listen((vpn, nrPages) => {
      if (++asked % 8 === 0) container.type1.unpinPages(vpn, nrPages);
    });
    await pin(17, 1);
    await pin(20, 1);
    expect(container.unmapAll()).toBe(0x6000n);
    expect(asked).toBe(16);
  });

  it('UNM-15: what was removed before is out of reach of devices when a driver is asked', async () => {
    start({ real: true });
    const reached: boolean[] = [];
    listen((vpn, nrPages) => {
      reached.push(container.reaches(16 * PAGE), container.reaches(20 * PAGE));
      container.type1.unpinPages(vpn, nrPages);
    });
    await pin(20, 1);
    expect([container.reaches(16 * PAGE), container.reaches(20 * PAGE)]).toEqual([true, true]);
    container.unmapAll();
    expect(reached).toEqual([false, true]);
  });

  it('the last group goes with pages pinned by a driver that forgot them: they are let go', async () => {
    start();
    listen();
    await pin(17, 2);
    container.type1.detachGroup(container.emulatedGroup);
    expect([container.machine.pinner.pinnedPages, container.type1.stats.mappings]).toEqual([0, 0]);
  });

  it('RACE-21: a driver that never unpins is a BUG, not an endless loop', async () => {
    start();
    listen();
    await pin(16, 1);
    expect(() => container.unmapAll()).toThrow('BUG');
    container.type1.unpinPages(16, 1);
  });
});

describe('dma_rw (MDV-5)', () => {
  it('reads and writes through the vaddr, across entries', async () => {
    start();
    await write(19, PAGE - 4, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
    expect([...(await read(19, 8, PAGE - 4))]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect([...container.process.space.peek(vaddr + 8 * PAGE, 4)]).toEqual([5, 6, 7, 8]);
  });

  it('needs no later turn of the thread where nothing has to wait', () => {
    start();
    const data = new Uint8Array(8);
    expect(container.type1.dmaRw({ vpn: 19, offset: 0, data, write: false })).toBe(false);
  });

  it('what was copied before a hole stays copied', async () => {
    start();
    expect(await settle(write(21, PAGE - 4, new Uint8Array(8).fill(7)))).toBe('EINVAL');
    expect([...container.process.space.peek(vaddr + 10 * PAGE - 4, 4)]).toEqual([7, 7, 7, 7]);
  });

  it.each([
    ['READ', READ, 'ok', 'EPERM'],
    ['WRITE', 2, 'EPERM', 'EPERM'],
    ['READ|WRITE', RW, 'ok', 'ok'],
  ])('a %s mapping', async (_name, flags, reading, writing) => {
    start();
    container.map(40 * PAGE, PAGE, vaddr, flags);
    expect(await settle(read(40))).toBe(reading);
    expect(await settle(write(40, 0, Uint8Array.of(1)))).toBe(writing);
  });

  it('EFAULT for a caller of another address space than that of the mapping', async () => {
    start();
    const other = new FakeProcess(101);
    const access = (caller: Task) =>
      container.access({ vpn: 16, offset: 0, data: new Uint8Array(1), write: false, caller });
    expect([await settle(access(other.task())), await settle(access(container.process.task()))]).toEqual([
      'EFAULT',
      'ok',
    ]);
  });

  it('EFAULT where the process itself has no access; EPERM when it is gone', async () => {
    start();
    container.process.space.protect(vaddr, PAGE, 'r');
    expect(await settle(write(16, 0, Uint8Array.of(1)))).toBe('EFAULT');
    container.process.space.unmap(vaddr, PAGE);
    expect(await settle(read(16))).toBe('EFAULT');
    container.process.exit();
    const asThread = container.access({ vpn: 17, offset: 0, data: new Uint8Array(1), write: false });
    expect(await settle(asThread)).toBe('EPERM');
  });
});

describe('dma_rw by a thread of the kernel, after an exec of the process', () => {
  const access = (write: boolean): Promise<unknown> =>
    container.access({ vpn: 16, offset: 0, data: Uint8Array.of(9), write });

  it('ACC-5: reaches what the new image has at that vaddr (5.12)', async () => {
    start({ profile: '5.12' });
    container.process.exec();
    const there = new FakeObject(PAGE);
    container.process.space.map(there, {}, vaddr);

    expect(await settle(access(true))).toBe('ok');
    expect(there.bytes[0]).toBe(9);

    container.process.space.unmap(vaddr, PAGE);
    expect(await settle(access(false))).toBe('EFAULT');
    there.close();
  });

  it.each([
    ['5.12', 'the new image', 0, 9],
    ['6.12', 'the address space of the mapping', 9, 0],
  ] as const)('reaches, while somebody shares the old memory, in %s that of %s', async (profile, _, old, now) => {
    start({ profile });
    const before = container.process.space.vmas[0]!.object;
    container.process.exec({ shared: true });
    const there = new FakeObject(PAGE);
    container.process.space.map(there, {}, vaddr);

    expect(await settle(access(true))).toBe('ok');
    expect([before.bytes[0], there.bytes[0]]).toEqual([old, now]);
    there.close();
  });

  it('EPERM since 6.3: the address space of the mapping is gone', async () => {
    start({ profile: '6.12' });
    container.process.exec();
    const there = new FakeObject(PAGE);
    container.process.space.map(there, {}, vaddr);

    expect(await settle(access(true))).toBe('EPERM');
    there.close();
  });
});

describe('an invalid vaddr, 6.3+ (VAD-15, UNM-3)', () => {
  it('cannot come about beside a mediated group', () => {
    start();
    expect(() => container.unmap(16 * PAGE, 4 * PAGE, UNMAP_VADDR)).toThrow(expect.objectContaining({ code: 'EBUSY' }));
  });
});

describe.each(['5.12', '6.2'] as const)('an invalid vaddr, %s', (profile) => {
  function startInvalid(): void {
    start({ profile });
    listen();
    container.unmap(16 * PAGE, 4 * PAGE, UNMAP_VADDR);
  }

  it('VAD-5, VAD-6: an access sleeps until MAP VADDR, and is then of the new memory; other entries go on', async () => {
    startInvalid();
    const sleeper = read(16);
    expect(await settle(sleeper)).toBe('asleep');
    expect(await settle(read(20))).toBe('ok');
    container.process.space.write(vaddr + 32 * PAGE, new Uint8Array(8).fill(0x42));
    container.map(16 * PAGE, 4 * PAGE, vaddr + 32 * PAGE, VADDR);
    expect([...(await sleeper)]).toEqual(Array(8).fill(0x42));
  });

  it('VAD-3, VAD-6: pin_pages sleeps for any page it wants, and pins nothing before', async () => {
    startInvalid();
    expect(await settle(pin(20, 2))).toBe('ok');
    const sleeper = pin(19, 2);
    expect(await settle(sleeper)).toBe('asleep');
    expect(container.machine.pinner.pinnedPages).toBe(2);
    container.map(16 * PAGE, 4 * PAGE, vaddr, VADDR);
    expect(await sleeper).toHaveLength(2);
  });

  it('VAD-3: after any sleep pin_pages looks at all its pages again', async () => {
    startInvalid();
    container.unmap(20 * PAGE, 2 * PAGE, UNMAP_VADDR);
    const sleeper = pin(19, 2);
    expect(await settle(sleeper)).toBe('asleep');
    container.map(16 * PAGE, 4 * PAGE, vaddr, VADDR);
    expect(await settle(sleeper)).toBe('asleep');
    container.unmap(16 * PAGE, 4 * PAGE, UNMAP_VADDR);
    container.map(20 * PAGE, 2 * PAGE, vaddr + 8 * PAGE, VADDR);
    expect(await settle(sleeper)).toBe('asleep');
    expect(container.machine.pinner.pinnedPages).toBe(0);
    container.map(16 * PAGE, 4 * PAGE, vaddr, VADDR);
    expect(await sleeper).toHaveLength(2);
  });

  it('RACE-8: removal of the entry wakes, and the sleeper finds nothing', async () => {
    startInvalid();
    const sleepers = [read(16), pin(16, 1)];
    expect(await Promise.all(sleepers.map(settle))).toEqual(['asleep', 'asleep']);
    container.unmap(16 * PAGE, 4 * PAGE);
    expect(await Promise.all(sleepers.map(settle))).toEqual(['EINVAL', 'EINVAL']);
    expect(container.type1.stats.invalidVaddrs).toBe(0);
  });

  it('VAD-12: the close of the container wakes who sleeps then; who comes later sleeps until killed (VAD-13)', async () => {
    startInvalid();
    const sleeper = read(16);
    expect(await settle(sleeper)).toBe('asleep');
    container.type1.containerClosed();
    expect(await settle(sleeper)).toBe('EFAULT');
    const later = read(16);
    expect(await settle(later)).toBe('asleep');
    expect(await settle(read(20))).toBe('ok');
    container.process.exit();
    expect(await settle(later)).toBe('EFAULT');
  });

  it('VAD-8, VAD-9, RACE-34: the attach of a first real group sleeps until all are valid; maps are taken meanwhile', async () => {
    startInvalid();
    container.unmap(20 * PAGE, 2 * PAGE, UNMAP_VADDR);
    const attaching = container.type1.attachGroup(container.realGroup, container.process.task()) as Promise<void>;
    expect(await settle(attaching)).toBe('asleep');
    container.map(0xfee00000, PAGE, vaddr);
    container.map(16 * PAGE, 4 * PAGE, vaddr, VADDR);
    expect(await settle(attaching)).toBe('asleep');
    expect(container.machine.pinner.pinnedPages).toBe(0);
    container.map(20 * PAGE, 2 * PAGE, vaddr + 8 * PAGE, VADDR);
    await attaching;
    expect(container.type1.stats.mappings).toBe(3);
    expect(() => container.map(0xfee01000, PAGE, vaddr)).toThrow(expect.objectContaining({ code: 'EINVAL' }));
    expect(container.reaches(16 * PAGE)).toBe(true);
  });

  it('VAD-10: an attach that joins a domain, or is of a mediated group, does not sleep', () => {
    start({ profile, real: true });
    container.unmap(16 * PAGE, 4 * PAGE, UNMAP_VADDR);
    expect(container.type1.attachGroup(container.group(2, [0x30]), container.process.task())).toBeUndefined();
    expect(container.type1.attachGroup({ id: 8, dids: [] }, container.process.task())).toBeUndefined();
  });

  it('VAD-1: a killed attach is EFAULT, leaves the group out and its domain to others', async () => {
    // the group has been here, so that its device has its place in the directory
    start({ profile, real: true });
    container.type1.detachGroup(container.realGroup);
    container.unmap(16 * PAGE, 4 * PAGE, UNMAP_VADDR);
    const { driver } = container.machine;
    const before = driver.nrFreePages;
    const killer = new AbortController();
    const task = { ...container.process.task(), killed: killer.signal };
    const attaching = container.type1.attachGroup(container.realGroup, task) as Promise<void>;
    expect(await settle(attaching)).toBe('asleep');
    expect(driver.nrFreePages).toBeLessThan(before);
    killer.abort();
    expect(await settle(attaching)).toBe('EFAULT');
    expect(driver.nrFreePages).toBe(before);
    container.map(16 * PAGE, 4 * PAGE, vaddr, VADDR);
    expect(container.reaches(16 * PAGE)).toBe(false);
    expect(container.type1.stats.mappings).toBe(2);
    // The process lives on (another of its threads was killed), and tries again.
    container.type1.attachGroup(container.realGroup, container.process.task());
    expect(container.reaches(16 * PAGE)).toBe(true);
  });
});
