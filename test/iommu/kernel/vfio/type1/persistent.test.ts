import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { VFIO_DMA_MAP_FLAG_LIVE_UPDATE as LIVE } from '../../../../../iommu/abi/persistent-tables.ts';
import { VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA } from '../../../../../iommu/abi/vfio.ts';
import { profileOf } from '../../../../../iommu/kernel/core/profile.ts';
import { UserArg } from '../../../../../iommu/kernel/core/user-arg.ts';
import type { IommuGroup } from '../../../../../iommu/kernel/vfio/container-iommu.ts';
import { type Type1, Type1Driver } from '../../../../../iommu/kernel/vfio/type1/type1.ts';
import type { TablesMode } from '../../../../../iommu/kernel/vfio/type1/vfio-iommu.ts';
import { dmaMapArg, dmaUnmapArg } from '../../../../../vmm/client/dma.ts';
import { FakeMachine, type FakeObject, FakeProcess, RESERVED_PFN } from '../../../../fakes/fake-machine.ts';
import { DID, errnoOf, READ, RW, VADDR } from './container.ts';

const PAGE = 4096;
const BLOCK = 2 * 2 ** 20;
const IOVA = 0x1000_0000;
const TYPE1V2 = 3;
const FILE = { name: 'iommu/dom-0', startPfn: RESERVED_PFN + 512 };
const OTHER_DID = 0x28;

let machine: FakeMachine;
let ram: FakeObject;
/** The container of the present kernel, and its user. */
let type1: Type1;
let user: FakeProcess;
let vaddr: number;

/** The file of the container's mappings: the third block. */
const ENTRIES = () => ({ name: 'vfio/guest', words: new Int32Array(machine.reserved, 2 * BLOCK, BLOCK / 4) });

/** A kernel's container with the file, and the device's group in it. */
function start(mode: TablesMode = 'strict', tables: typeof FILE | null = FILE, entries = false): void {
  const driver = new Type1Driver({ profile: profileOf('6.12'), pinner: machine.pinner, persistence: mode });
  type1 = driver.open(TYPE1V2, tables ?? undefined, entries ? ENTRIES() : undefined);
  user = new FakeProcess(100);
  vaddr = user.space.map(ram);
  type1.attachGroup(group(DID), user.task());
}

const group = (did: number, id = 1): IommuGroup => ({ id, dids: [did], iommuDevice: machine.driver });

/** The kernel ends and the next one comes up; its user has mapped nothing yet. */
function kexec(mode: TablesMode = 'strict'): void {
  expect(type1.leaveToNextKernel()).toBe(true);
  type1.release();
  machine.kexec();
  start(mode);
}

function map(iova: number, size: number, at = vaddr, flags = RW): void {
  type1.ioctl(VFIO_IOMMU_MAP_DMA, new UserArg(dmaMapArg({ iova, size, vaddr: at, flags })), user.task());
}

function unmap(iova: number, size: number): void {
  type1.ioctl(VFIO_IOMMU_UNMAP_DMA, new UserArg(dmaUnmapArg({ iova, size })), user.task());
}

/** Whether the device can write there. */
function reaches(iova: number, did = DID): boolean {
  const port = machine.port(did);
  const done = port.write(iova / PAGE, 0, Uint8Array.of(0xa5));
  port.idle();
  return done === 1;
}

/** All bytes of the file with the page tables. */
const tables = (): Buffer => Buffer.from(new Uint8Array(machine.reserved, BLOCK, BLOCK).slice());

beforeEach(() => {
  const persistent = { directoryPfn: RESERVED_PFN, domainPfns: [FILE.startPfn] };
  machine = new FakeMachine({ reservedBlocks: 3, driver: { persistent } });
  ram = machine.persistentObject(4 * BLOCK);
  start();
});
afterEach(() => {
  type1.release();
  machine.close();
});

describe('page tables that outlive the kernel (PKF-3, PKF-4, PKF-6)', () => {
  it('translate before the next kernel, before its container, and after MAP with LIVE_UPDATE', () => {
    map(IOVA, 4 * BLOCK);
    const bytes = tables();
    type1.leaveToNextKernel();
    type1.release();
    const between = reaches(IOVA + 100 * PAGE);
    machine.kexec();
    const booted = reaches(IOVA + 100 * PAGE);
    start();
    map(IOVA, 4 * BLOCK, vaddr, RW | LIVE);
    expect([between, booted, reaches(IOVA + 100 * PAGE)]).toEqual([true, true, true]);
    expect(tables().equals(bytes)).toBe(true);
    expect(machine.driver.pteWrites).toBe(0);
    expect(machine.pinner.pinnedPages).toBe((4 * BLOCK) / PAGE);
    expect(type1.stats).toMatchObject({ mappings: 1, mappedBytes: 4 * BLOCK });
  });

  it('are unmapped as any others, once they are claimed', () => {
    map(IOVA, BLOCK);
    map(IOVA + 2 * BLOCK, BLOCK);
    kexec();
    map(IOVA, BLOCK, vaddr, RW | LIVE);
    unmap(IOVA, BLOCK);
    expect([reaches(IOVA), reaches(IOVA + 2 * BLOCK)]).toEqual([false, true]);
    expect(machine.pinner.pinnedPages).toBe(0);
  });

  it('take new mappings beside those that are claimed', () => {
    map(IOVA, BLOCK);
    kexec();
    map(IOVA, BLOCK, vaddr, RW | LIVE);
    map(IOVA + BLOCK, PAGE, vaddr + BLOCK);
    kexec();
    expect([reaches(IOVA), reaches(IOVA + BLOCK), reaches(IOVA + BLOCK + PAGE)]).toEqual([true, true, false]);
  });

  it('end with a container that is closed', () => {
    map(IOVA, BLOCK);
    kexec();
    type1.release();
    expect(reaches(IOVA)).toBe(false);
    start();
    expect(reaches(IOVA)).toBe(false);
    map(IOVA, BLOCK);
    expect(reaches(IOVA)).toBe(true);
  });

  it('serve all devices of the container, also those that join later', () => {
    type1.attachGroup(group(OTHER_DID, 2), user.task());
    map(IOVA, BLOCK);
    kexec();
    expect(reaches(IOVA, OTHER_DID)).toBe(true);
    type1.attachGroup(group(OTHER_DID, 2), user.task());
    map(IOVA, BLOCK, vaddr, RW | LIVE);
    expect(machine.driver.pteWrites).toBe(0);
    type1.detachGroup(group(OTHER_DID, 2));
    expect([reaches(IOVA), reaches(IOVA, OTHER_DID)]).toEqual([true, false]);
  });

  it('are not there for devices without persistence: their DMA faults', () => {
    const driver = new Type1Driver({ profile: profileOf('6.12'), pinner: machine.pinner, persistence: 'strict' });
    const other = driver.open(TYPE1V2);
    other.attachGroup(group(OTHER_DID, 2), user.task());
    const arg = new UserArg(dmaMapArg({ iova: IOVA, size: BLOCK, vaddr }));
    other.ioctl(VFIO_IOMMU_MAP_DMA, arg, user.task());
    map(IOVA, BLOCK);
    expect([reaches(IOVA), reaches(IOVA, OTHER_DID)]).toEqual([true, true]);
    machine.kexec(); // a crash: nobody has cleared anything
    expect([reaches(IOVA), reaches(IOVA, OTHER_DID)]).toEqual([true, false]);
    start();
  });
});

describe('MAP with LIVE_UPDATE compares the request with the tables (PKF-5)', () => {
  beforeEach(() => {
    map(IOVA, BLOCK);
    map(IOVA + BLOCK, PAGE, vaddr + BLOCK, READ);
    kexec();
  });

  it.each([
    ['the same', () => map(IOVA, BLOCK, vaddr, RW | LIVE), 'ok'],
    ['an iova that is not mapped', () => map(IOVA + 2 * BLOCK, PAGE, vaddr + 2 * BLOCK, RW | LIVE), 'ENOENT'],
    ['a part of a large leaf', () => map(IOVA, PAGE, vaddr, RW | LIVE), 'EINVAL'],
    ['more than is mapped', () => map(IOVA, 2 * BLOCK, vaddr, RW | LIVE), 'EACCES'],
    ['more, with a hole', () => map(IOVA + BLOCK, 2 * PAGE, vaddr + BLOCK, READ | LIVE), 'ENOENT'],
    ['another page', () => map(IOVA, BLOCK, vaddr + BLOCK, RW | LIVE), 'ESTALE'],
    ['more rights', () => map(IOVA + BLOCK, PAGE, vaddr + BLOCK, RW | LIVE), 'EACCES'],
    ['fewer rights', () => map(IOVA, BLOCK, vaddr, READ | LIVE), 'EACCES'],
    ['no rights', () => map(IOVA, BLOCK, vaddr, LIVE), 'EINVAL'],
    ['VADDR: there is no entry', () => map(IOVA, BLOCK, vaddr, LIVE | VADDR), 'ENOENT'],
    ['no flag, over a translation', () => map(IOVA, BLOCK, vaddr, RW), 'EEXIST'],
    ['no flag, over the end of one', () => map(IOVA + BLOCK - PAGE, PAGE, vaddr, RW), 'EEXIST'],
    ['memory that is not there', () => map(IOVA, BLOCK, 0x1000, RW | LIVE), 'EFAULT'],
    ['memory that does not outlive the kernel', () => map(IOVA + 3 * BLOCK, BLOCK, ordinary(), RW), 'EFAULT'],
  ])('%s', (_, call, errno) => {
    const bytes = tables();
    expect(errnoOf(call)).toBe(errno);
    expect(tables().equals(bytes)).toBe(true);
    expect([reaches(IOVA), machine.pinner.pinnedPages]).toEqual([true, errno === 'ok' ? 512 : 0]);
  });

  it('a mapping that is claimed already', () => {
    map(IOVA, BLOCK, vaddr, RW | LIVE);
    expect(errnoOf(() => map(IOVA, BLOCK, vaddr, RW | LIVE))).toBe('EEXIST');
    expect(reaches(IOVA)).toBe(true);
  });
});

const ordinary = (): number => user.space.map(machine.object(BLOCK));

describe('a container whose mappings outlive the kernel, too (PKF-7)', () => {
  const next = (): void => {
    type1.leaveToNextKernel();
    type1.release();
    machine.kexec();
    start('strict', FILE, true);
  };
  beforeEach(() => {
    type1.release();
    start('strict', FILE, true);
    map(IOVA, BLOCK);
    map(IOVA + BLOCK, PAGE, vaddr + BLOCK, READ);
    map(IOVA + 2 * BLOCK, BLOCK, vaddr + 2 * BLOCK);
    unmap(IOVA + 2 * BLOCK, BLOCK);
  });

  it('is there after SET_IOMMU, pinned and charged, without a MAP and without a page table write', () => {
    const bytes = tables();
    next();
    expect(type1.stats).toEqual({ mappings: 2, mappedBytes: BLOCK + PAGE, invalidVaddrs: 2 });
    expect([machine.pinner.pinnedPages, user.mm.lockedVm]).toEqual([513, 513]);
    expect([machine.driver.pteWrites, tables().equals(bytes), reaches(IOVA)]).toEqual([0, true, true]);
    expect(errnoOf(() => map(IOVA, BLOCK, vaddr, RW))).toBe('EEXIST');
  });

  it('takes new vaddrs by MAP with VADDR, and is unmapped as any other', () => {
    next();
    map(IOVA, BLOCK, vaddr, VADDR);
    unmap(IOVA, BLOCK);
    expect([type1.stats.mappings, reaches(IOVA)]).toEqual([1, false]);
    next();
    expect(type1.stats).toEqual({ mappings: 1, mappedBytes: PAGE, invalidVaddrs: 1 });
  });

  it('is refused whole when a mapping is not in the tables', () => {
    type1.leaveToNextKernel();
    type1.release();
    machine.kexec();
    start('strict', FILE); // without the file of mappings
    map(IOVA, BLOCK, vaddr, RW | LIVE);
    unmap(IOVA, BLOCK);
    type1.leaveToNextKernel();
    type1.release();
    machine.kexec();
    expect(errnoOf(() => start('strict', FILE, true))).toBe('ENOENT');
    expect([machine.pinner.pinnedPages, user.mm.lockedVm, reaches(IOVA + BLOCK)]).toEqual([0, 0, false]);
    start('strict', FILE);
  });

  it('is refused when a record is damaged', () => {
    type1.leaveToNextKernel();
    type1.release();
    machine.kexec();
    ENTRIES().words[0]! ^= 1;
    expect(errnoOf(() => start('strict', FILE, true))).toBe('EIO');
    start('strict', FILE);
  });

  it('ends with its container', () => {
    type1.release();
    start('strict', FILE, true);
    expect(type1.stats.mappings).toBe(0);
  });
});

describe('MAP with LIVE_UPDATE elsewhere (PKF-5)', () => {
  it('is a flag that a container without such tables refuses', () => {
    type1.release();
    start('strict', null);
    expect(errnoOf(() => map(IOVA, BLOCK, vaddr, RW | LIVE))).toBe('EINVAL');
  });

  it('is refused while only mediated devices are in the container', () => {
    type1.release();
    const driver = new Type1Driver({ profile: profileOf('6.12'), pinner: machine.pinner, persistence: 'strict' });
    type1 = driver.open(TYPE1V2, FILE);
    type1.attachGroup({ id: 9, dids: [] }, user.task());
    expect(errnoOf(() => map(IOVA, BLOCK, vaddr, RW | LIVE))).toBe('EINVAL');
    map(IOVA, BLOCK);
    expect(errnoOf(() => type1.attachGroup(group(DID), user.task()))).toBe('EBUSY');
  });

  it('is refused a second container with the file', () => {
    const driver = new Type1Driver({ profile: profileOf('6.12'), pinner: machine.pinner, persistence: 'strict' });
    const second = driver.open(TYPE1V2, FILE);
    expect(errnoOf(() => second.attachGroup(group(OTHER_DID, 2), user.task()))).toBe('EBUSY');
  });
});

describe('as the RFC did (PKF-5)', () => {
  beforeEach(() => {
    type1.release();
    start('rfc');
    map(IOVA, BLOCK);
    kexec('rfc');
  });

  it('another page goes unnoticed: the entry says one thing and the tables another', () => {
    map(IOVA, BLOCK, vaddr + BLOCK, RW | LIVE);
    ram.bytes.fill(0);
    expect(reaches(IOVA)).toBe(true);
    expect([ram.bytes[0], ram.bytes[BLOCK]]).toEqual([0xa5, 0]);
  });

  it('a MAP that fails removes what was persistent', () => {
    user.space.unmap(vaddr + PAGE, BLOCK);
    expect(errnoOf(() => map(IOVA, BLOCK, vaddr, RW | LIVE))).toBe('EFAULT');
    expect(reaches(IOVA)).toBe(false);
  });
});

describe('tables that are damaged (PKF-1)', () => {
  it('are refused and left as they are', () => {
    map(IOVA, PAGE);
    type1.leaveToNextKernel();
    type1.release();
    const words = new Int32Array(machine.reserved, BLOCK, BLOCK / 4);
    words[4]! ^= 4; // the GSCID in the header
    const bytes = tables();
    expect(() => machine.kexec()).toThrow(/header is damaged/);
    expect(tables().equals(bytes)).toBe(true);
    words[4]! ^= 4;
    machine.kexec();
    start();
  });

  it('are refused when they lead out of their file', () => {
    map(IOVA, PAGE);
    type1.leaveToNextKernel();
    type1.release();
    const words = new Int32Array(machine.reserved, BLOCK, BLOCK / 4);
    const root = 4 * 1024;
    const at = root + words.subarray(root, root + 4096).findIndex((word) => word !== 0);
    const entry = words[at]!;
    words[at] = entry + (1 << 22); // 4096 pages on
    machine.kexec();
    const driver = new Type1Driver({ profile: profileOf('6.12'), pinner: machine.pinner, persistence: 'strict' });
    const next = driver.open(TYPE1V2, FILE);
    expect(errnoOf(() => next.attachGroup(group(DID), user.task()))).toBe('EIO');
    words[at] = entry;
    start();
    expect(reaches(IOVA)).toBe(true);
  });
});
