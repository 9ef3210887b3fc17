import { afterEach, describe, expect, it } from 'vitest';

import { VFIO_IOMMU_MAP_DMA, VFIO_IOMMU_UNMAP_DMA, VFIO_TYPE1v2_IOMMU } from '../../../../../iommu/abi/vfio.ts';
import { BarGate, createBarGate } from '../../../../../iommu/bus/bar-gate.ts';
import { UserArg } from '../../../../../iommu/kernel/core/user-arg.ts';
import type { DeviceMemory, DeviceMemoryTable } from '../../../../../iommu/kernel/mm/device-memory.ts';
import { PeerReturn } from '../../../../../iommu/kernel/vfio/pci/peer-return.ts';
import type { Type1 } from '../../../../../iommu/kernel/vfio/type1/type1.ts';
import { dmaMapArg, dmaUnmapArg } from '../../../../../vmm/client/dma.ts';
import { ALL, type ContainerOptions, RW, TestContainer, UNMAP_VADDR, VADDR } from './container.ts';

const PAGE = 4096;
const BAR_PAGES = 4;
const BAR_PFN = 0xfea00;
/** Page of the BAR's mapping for DMA. */
const AT = 64;

let container: TestContainer;
let gate: BarGate;
let device: PeerReturn;
let memory: DeviceMemory;
/** Whether the gate was open at each fence. */
let fences: boolean[];
let bar: number;
afterEach(async () => {
  await container.type1.release();
  container.machine.close();
});

/** A container and, apart from it, a device with a BAR of 4 pages that the process has mapped. */
function start(options: ContainerOptions): void {
  let ino = 0;
  memory = { objectOffset: 0, startPfn: BAR_PFN, nrPages: BAR_PAGES, answers: () => true, users: new Set() };
  const bars = { find: (vma: { readonly inode: number }) => (vma.inode === ino ? memory : undefined) };
  container = new TestContainer({ ...options, machine: { bars: bars as unknown as DeviceMemoryTable } });
  const object = container.machine.object(BAR_PAGES * PAGE);
  ino = object.ino;
  bar = container.process.space.map(object);
  container.machine.board.physical.attach({
    ...{ kind: 'ram', start: BAR_PFN * PAGE, size: BAR_PAGES * PAGE },
    buffer: new SharedArrayBuffer(BAR_PAGES * PAGE),
  });
  const shared = createBarGate();
  gate = new BarGate(shared);
  gate.setDecoding(true);
  fences = [];
  device = new PeerReturn(shared, () => fences.push(gate.open()));
}

const takeBack = (): void => device.takeBack([memory]);
const ioctl = (nr: number, arg: Uint8Array, type1: Type1 = container.type1): number | Promise<number> =>
  type1.ioctl(nr, new UserArg(arg), container.process.task());
const map = (page: number, nrPages: number, vaddr: number, type1?: Type1) =>
  ioctl(VFIO_IOMMU_MAP_DMA, dmaMapArg({ iova: page * PAGE, size: nrPages * PAGE, vaddr }), type1);
/** A MAP that takes many slices: pages of one object, each mapped for itself. */
function longMap(type1?: Type1): Promise<number> {
  const object = container.machine.object(20 * PAGE);
  const first = container.process.space.map(object, { size: PAGE });
  for (let i = 1; i < 20; i++) {
    container.process.space.map(object, { offset: i * PAGE, size: PAGE }, first + i * PAGE);
  }
  return map(256, 20, first, type1) as Promise<number>;
}
const reaches = () => Array.from({ length: BAR_PAGES }, (_, i) => container.reaches((AT + i) * PAGE));
async function gateOpens(): Promise<void> {
  for (let turns = 0; !gate.open() && turns < 1000; turns++) await new Promise(setImmediate);
}
const ALL_PAGES = Array(BAR_PAGES).fill(true);
const NO_PAGES = Array(BAR_PAGES).fill(false);

describe('the last close of a device, where it removes mappings of its BARs', () => {
  it('P2P-4, P2P-5: removes the entries with a page of them and no other; UNMAP finds none, MAP is allowed', () => {
    start({ peerMappings: 'closed' });
    const ram = container.memory(PAGE);
    container.map(0, PAGE, ram);
    container.map(AT * PAGE, BAR_PAGES * PAGE, bar);
    const before = container.dmaAvail();

    takeBack();

    expect([container.reaches(0), reaches()]).toEqual([true, NO_PAGES]);
    expect(container.dmaAvail() - before).toBe(1);
    expect(container.unmap(AT * PAGE, BAR_PAGES * PAGE)).toBe(0n);
    container.map(AT * PAGE, PAGE, ram);
    expect([container.reaches(AT * PAGE), gate.open(), fences]).toEqual([true, true, []]);
  });

  it('P2P-4: removes an entry whose BAR comes after memory of the process', () => {
    start({ peerMappings: 'closed' });
    const object = container.machine.object(PAGE);
    container.process.space.map(object, {}, bar - PAGE);
    container.map((AT - 1) * PAGE, (BAR_PAGES + 1) * PAGE, bar - PAGE);

    takeBack();

    expect([container.reaches((AT - 1) * PAGE), reaches()]).toEqual([false, NO_PAGES]);
    expect([container.machine.pinner.pinnedPages, container.process.mm.lockedVm]).toEqual([0, 0]);
  });

  it('P2P-4: asks drivers to unpin first', async () => {
    start({ peerMappings: 'closed', profile: '5.12', real: false });
    container.type1.attachGroup(container.emulatedGroup, container.process.task());
    const asked: number[] = [];
    container.type1.registerDevice({
      dmaUnmap: (vpn, nrPages) => {
        asked.push(vpn, nrPages);
        container.type1.unpinPages(vpn, nrPages);
      },
    });
    container.map(AT * PAGE, BAR_PAGES * PAGE, bar);
    await container.type1.pinPages({ group: container.emulatedGroup, vpn: AT + 1, nrPages: 1, prot: RW });

    takeBack();

    expect(asked).toEqual([AT, BAR_PAGES]);
    expect(container.type1.stats.mappings).toBe(0);
  });

  it('RACE-23: during a MAP of the BAR lets no device in until that mapping is gone, too', async () => {
    start({ peerMappings: 'closed', sliceMs: 0 });
    await map(AT, BAR_PAGES, bar);
    const long = longMap();

    takeBack();
    expect([gate.open(), fences]).toEqual([false, [false]]);
    await long;
    await gateOpens();

    expect([gate.open(), reaches(), container.type1.stats.mappings]).toEqual([true, NO_PAGES, 1]);
  });

  it('RACE-23: against an UNMAP of the same entry removes it once', async () => {
    start({ peerMappings: 'closed', sliceMs: 0 });
    await map(AT, BAR_PAGES, bar);
    await longMap();
    const unmapping = ioctl(VFIO_IOMMU_UNMAP_DMA, dmaUnmapArg({ iova: 0, size: 0 }, ALL));

    takeBack();
    await unmapping;
    await gateOpens();

    expect(container.type1.stats).toMatchObject({ mappings: 0, mappedBytes: 0 });
    expect(container.machine.pinner.pinnedPages).toBe(0);
    expect(gate.open()).toBe(true);
  });

  it('RACE-24: of two devices, each mapped in the other’s container, both in long work, comes to its end', async () => {
    start({ peerMappings: 'closed', sliceMs: 0 });
    const other = container.open(VFIO_TYPE1v2_IOMMU);
    await other.attachGroup(container.group(2, [0x30]), container.process.task());
    await Promise.all([map(AT, BAR_PAGES, bar), map(AT, BAR_PAGES, bar, other)]);
    const long = [longMap(), longMap(other)];

    takeBack(); // both containers hear of it
    takeBack();
    await Promise.all(long);
    await gateOpens();

    expect([container.type1.stats.mappings, other.stats.mappings, gate.open()]).toEqual([1, 1, true]);
    await other.release();
  });

  it('P2P-1: is not told to a container that has let everything go', () => {
    start({ peerMappings: 'closed' });
    const other = container.open(VFIO_TYPE1v2_IOMMU);
    other.attachGroup(container.group(2, [0x30]), container.process.task());
    map(AT, BAR_PAGES, bar, other);
    expect(memory.users.size).toBe(1);

    other.release();

    expect(memory.users.size).toBe(0);
  });
});

describe('a BAR that is revoked', () => {
  it('P2P-9, P2P-10: loses its translations for good and keeps its entry, which UNMAP finds', () => {
    start({ peerMappings: 'revoked' });
    container.map(AT * PAGE, BAR_PAGES * PAGE, bar);
    expect(reaches()).toEqual(ALL_PAGES);

    takeBack();

    expect([reaches(), container.type1.stats.mappings]).toEqual([NO_PAGES, 1]);
    expect(container.unmap(AT * PAGE, BAR_PAGES * PAGE)).toBe(BigInt(BAR_PAGES * PAGE));
    container.map(AT * PAGE, BAR_PAGES * PAGE, bar);
    expect(reaches()).toEqual(ALL_PAGES);
  });

  it('P2P-9: of an entry with memory of the process as well loses only the BAR’s pages', () => {
    start({ peerMappings: 'revoked' });
    container.process.space.map(container.machine.object(PAGE), {}, bar - PAGE);
    container.map((AT - 1) * PAGE, (BAR_PAGES + 1) * PAGE, bar - PAGE);

    takeBack();

    expect([container.reaches((AT - 1) * PAGE), reaches()]).toEqual([true, NO_PAGES]);
    container.unmapAll();
    expect(container.machine.pinner.pinnedPages).toBe(0);
  });

  it('P2P-9: does not come back with a new domain', () => {
    start({ peerMappings: 'revoked' });
    container.map(AT * PAGE, BAR_PAGES * PAGE, bar);
    container.map(0, PAGE, container.memory(PAGE));
    takeBack();
    container.type1.attachGroup(container.emulatedGroup, container.process.task());
    const machine = new TestContainer({ real: false }).machine;
    const { pteWrites } = machine.driver;

    container.type1.attachGroup(container.group(2, [0x30], machine.driver), container.process.task());

    expect(machine.driver.pteWrites - pteWrites).toBeLessThanOrEqual(5); // one leaf and the tables to it
    machine.close();
  });
});

it('VAD-16, P2P-3: a mapped BAR outlives exec; its vaddr is given anew as that of memory is', () => {
  start({});
  container.map(AT * PAGE, BAR_PAGES * PAGE, bar);
  const [vma] = container.process.space.vmas;
  container.unmap(0, 0, ALL | UNMAP_VADDR);
  container.process.exec();
  expect(reaches()).toEqual(ALL_PAGES);

  container.map(AT * PAGE, BAR_PAGES * PAGE, container.process.space.map(vma!.object), VADDR);

  expect([reaches(), container.type1.stats.invalidVaddrs]).toEqual([ALL_PAGES, 0]);
});
