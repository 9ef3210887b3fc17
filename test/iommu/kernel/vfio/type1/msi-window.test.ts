import { afterEach, describe, expect, it } from 'vitest';

import { VFIO_DMA_MAP_FLAG_RESERVED_MSI } from '../../../../../iommu/abi/reserved-msi.ts';
import { DirtyBitmap, VFIO_IOMMU_DIRTY_PAGES, VFIO_TYPE1v2_IOMMU } from '../../../../../iommu/abi/vfio.ts';
import { DoorbellTable } from '../../../../../iommu/bus/interrupts.ts';
import { UserArg } from '../../../../../iommu/kernel/core/user-arg.ts';
import { getType1Info } from '../../../../../vmm/client/container.ts';
import { ALL, type ContainerOptions, DID, errnoOf, READ, RW, TestContainer, UNMAP_VADDR, VADDR } from './container.ts';

const PAGE = 4096;
const AT = 0x800_0000;
const SIZE = 4 * PAGE;
const MSI = VFIO_DMA_MAP_FLAG_RESERVED_MSI;
const DONATED = { unit: { msiFlat: false }, driver: { donatedMsi: true } };

let container: TestContainer;
afterEach(() => container.close());

const start = (options: ContainerOptions = {}): void => {
  container = new TestContainer({ machine: DONATED, ...options });
};
const donate = (iova: number | bigint = AT, size: number | bigint = SIZE, flags = MSI) =>
  container.map(iova, size, 0, flags);
/** The device's MSI at an iova, and whether it got through. */
function send(iova: number, did = DID, { machine } = container): boolean {
  const port = machine.port(did);
  const sent = port.write32(iova / PAGE, 0, 5);
  port.idle();
  return sent;
}
const capability = () => {
  const ioctl = (_fd: number, _nr: number, arg: Uint8Array): number => {
    arg.set(container.info(256));
    return 0;
  };
  return getType1Info({ ioctl } as never, 0).msiWindow;
};

describe('a window that a user donates for MSIs', () => {
  it('RSV-1: lets MSIs through from the first vector to the last, and faults before and after', () => {
    start();
    donate();
    const before = send(AT);
    const doorbell = container.machine.driver.doorbellOf(DID);

    const iova = doorbell.acquire();
    const works = [iova, send(AT)];
    doorbell.acquire();
    doorbell.release();
    const stillWorks = send(AT);
    doorbell.release();

    expect({ before, works, stillWorks, after: send(AT) }).toEqual({
      ...{ before: false, works: [AT, true], stillWorks: true, after: false },
    });
    expect(new DoorbellTable(container.machine.interrupts).dropped(5)).toBe(2); // nobody has vector 5
  });

  it('RSV-4: is of whole pages, once, over nothing, in a valid range, and takes an entry', () => {
    start({ parameters: { dmaEntryLimit: 2, allowUnsafeInterrupts: false } });
    container.map(0, PAGE, container.memory(PAGE));

    expect([
      errnoOf(() => donate(AT, 0)),
      errnoOf(() => donate(AT + 1, PAGE)),
      errnoOf(() => donate(AT, 100)),
      errnoOf(() => donate(2n ** 64n - 4096n, 2n * 4096n)),
      errnoOf(() => donate(2n ** 39n, PAGE)), // beyond the aperture
      errnoOf(() => donate(0, SIZE)),
      errnoOf(() => donate(AT, SIZE, MSI | VADDR)),
      errnoOf(() => donate(AT, SIZE, MSI | 0x20)),
    ]).toEqual(['EINVAL', 'EINVAL', 'EINVAL', 'EINVAL', 'EINVAL', 'EEXIST', 'EINVAL', 'EINVAL']);
    expect(container.dmaAvail()).toBe(1);
    donate(AT, SIZE, MSI | RW); // READ and WRITE say nothing
    expect(container.dmaAvail()).toBe(0);
    container.unmapAll();
    expect([errnoOf(() => donate()), errnoOf(() => donate(2 * AT))]).toEqual(['EEXIST', 'EINVAL']);
    expect([errnoOf(() => container.map(AT, PAGE, container.memory(PAGE), READ)), container.dmaAvail()]).toEqual([
      'EEXIST',
      1,
    ]);
  });

  it('RSV-4: needs a free entry', () => {
    start({ parameters: { dmaEntryLimit: 1, allowUnsafeInterrupts: false } });
    container.map(0, PAGE, container.memory(PAGE));
    expect(errnoOf(() => donate())).toBe('ENOSPC');
    container.unmapAll();
    expect(errnoOf(() => donate())).toBe('ok');
  });

  it.each([
    ['where the IOMMU has a window of its own', { machine: {} }],
    ['where the driver chooses it', { machine: { unit: { msiFlat: false } } }],
    ['without a real device', { real: false }],
  ])('RSV-4, NUM-10: is EINVAL %s, and GET_INFO asks for none (RACE-26)', (_, options) => {
    start(options);
    if ('real' in options) container.type1.attachGroup(container.emulatedGroup, container.process.task());

    expect([errnoOf(() => donate()), errnoOf(() => donate(AT, SIZE, MSI | RW)), capability()]).toEqual([
      'EINVAL',
      'EINVAL',
      undefined,
    ]);
    expect(errnoOf(() => container.map(0, PAGE, container.memory(PAGE)))).toBe('ok'); // the lock is free
  });

  it('NUM-10: is asked for in GET_INFO', () => {
    start();
    expect(capability()).toEqual({ size: 4096n, alignment: 4096n });
  });

  it('RSV-5: is nothing to UNMAP, with a range or ALL, nor to UNMAP VADDR', () => {
    start();
    donate();
    container.map(0, PAGE, container.memory(PAGE));
    const doorbell = container.machine.driver.doorbellOf(DID);
    doorbell.acquire();

    expect(container.unmap(AT + PAGE, PAGE)).toBe(0n); // does not split it either
    expect(container.unmap(AT, SIZE)).toBe(0n);
    expect(container.unmap(0, 0, ALL | UNMAP_VADDR)).toBe(4096n);
    expect(container.type1.stats.invalidVaddrs).toBe(1);
    expect(errnoOf(() => container.map(AT, SIZE, 0x7000_0000, VADDR))).toBe('EINVAL');
    expect(container.unmapAll()).toBe(4096n);
    expect(send(AT)).toBe(true);
  });

  it('RSV-2: has no memory: drivers find none, and no page of it is dirty', async () => {
    start({ profile: '5.12' });
    donate();
    container.type1.attachGroup(container.emulatedGroup, container.process.task());
    container.type1.registerDevice({ dmaUnmap: () => undefined });
    const begin = new UserArg(DirtyBitmap.bytes({ argsz: 8, flags: 1 }));
    expect(container.type1.ioctl(VFIO_IOMMU_DIRTY_PAGES, begin, container.process.task())).toBe(0);
    const vpn = AT / PAGE;

    await expect(
      container.type1.pinPages({ group: container.emulatedGroup, vpn, nrPages: 1, prot: RW }),
    ).rejects.toMatchObject({ code: 'EINVAL' });
    await expect(container.access({ vpn, offset: 0, data: new Uint8Array(4), write: false })).rejects.toMatchObject({
      code: 'EINVAL',
    });
    expect([container.machine.pinner.pinnedPages, container.process.mm.lockedVm]).toEqual([0, 0]);
  });

  it('RSV-3, RSV-6: is set in each new domain that needs one, and its doorbells are not copied', () => {
    start();
    donate();
    container.machine.driver.doorbellOf(DID).acquire();
    const other = new TestContainer({ real: false, machine: DONATED });
    const before = other.machine.driver.pteWrites;

    container.type1.attachGroup(container.group(2, [0x30], other.machine.driver), container.process.task());

    expect(other.machine.driver.pteWrites).toBe(before);
    expect(send(AT, 0x30, other)).toBe(false);
    expect(other.machine.driver.doorbellOf(0x30).acquire()).toBe(AT);
    expect(send(AT, 0x30, other)).toBe(true);
    expect(container.dmaAvail()).toBe(65534);
    container.type1.detachGroup({ id: 2, dids: [0x30], iommuDevice: other.machine.driver });
    other.close();
  });

  it('RSV-2: goes with the container’s driver, and another container has its own', () => {
    start();
    donate();
    const second = container.open(VFIO_TYPE1v2_IOMMU);
    second.attachGroup(container.group(2, [0x30]), container.process.task());
    expect(errnoOf(() => container.machine.driver.doorbellOf(0x30).acquire())).toBe('EINVAL');
    second.release();
    const pages = container.machine.driver.nrFreePages;
    container.machine.driver.doorbellOf(DID).acquire();

    container.type1.release();

    expect(container.machine.driver.nrFreePages).toBeGreaterThan(pages);
    expect(container.type1.stats.mappings).toBe(0);
  });
});
