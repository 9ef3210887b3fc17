import { afterEach, describe, expect, it } from 'vitest';
import { DmaMap, VFIO_IOMMU_MAP_DMA } from '../../../../../iommu/abi/vfio.ts';
import { PROFILE_NAMES } from '../../../../../iommu/kernel/core/profile.ts';
import { UserArg } from '../../../../../iommu/kernel/core/user-arg.ts';
import { DEFAULT_PARAMETERS } from '../../../../../iommu/kernel/vfio/type1/vfio-iommu.ts';
import { errnoOf, READ, RW, TestContainer, UNMAP_VADDR, VADDR, WRITE } from './container.ts';

const PAGE = 4096;
const END = 2n ** 64n;

let container: TestContainer;
afterEach(() => container.close());

function start(options: ConstructorParameters<typeof TestContainer>[0] = {}): number {
  container = new TestContainer(options);
  return container.memory(64 * PAGE);
}

describe('door (MAP-1)', () => {
  it.each([
    ['a bad pointer', 0, 'EFAULT'],
    ['31 bytes that can be read', new Uint8Array(31), 'EFAULT'],
    ['argsz 31', DmaMap.bytes({ argsz: 31, flags: RW, size: 4096n }), 'EINVAL'],
    ['an unknown flag', DmaMap.bytes({ argsz: 32, flags: RW | 8, size: 4096n }), 'EINVAL'],
  ])('%s', (_name, arg, code) => {
    start();
    const call = () => container.type1.ioctl(VFIO_IOMMU_MAP_DMA, new UserArg(arg), container.process.task());
    expect(errnoOf(call)).toBe(code);
  });

  it('an unknown number is ENOTTY (CORE-1)', () => {
    start();
    const call = () => container.type1.ioctl(0x3b70 + 40, new UserArg(0), container.process.task());
    expect(errnoOf(call)).toBe('ENOTTY');
  });
});

describe('arguments', () => {
  // In every line only what is named is wrong, so the rule named is the one that answers.
  const lines: [string, { flags?: number; iova?: bigint; size?: bigint; vaddr?: bigint }, string, string][] = [
    ['MAP-2: neither prot nor VADDR', { flags: 0 }, 'EINVAL', 'EINVAL'],
    ['MAP-2: prot and VADDR', { flags: RW | VADDR }, 'EINVAL', 'EINVAL'],
    ['MAP-3: size 0', { size: 0n }, 'EINVAL', 'EINVAL'],
    ['MAP-3: size off a page', { size: 0x1001n }, 'EINVAL', 'EINVAL'],
    ['MAP-3: iova off a page', { iova: 0x800n }, 'EINVAL', 'EINVAL'],
    ['MAP-3: vaddr off a page', { vaddr: 0x800n }, 'EINVAL', 'EINVAL'],
    ['MAP-4: iova wraps', { iova: END - 0x1000n, size: 0x2000n }, 'EINVAL', 'EOVERFLOW'],
    ['MAP-4: vaddr wraps', { vaddr: END - 0x1000n, size: 0x2000n }, 'EINVAL', 'EOVERFLOW'],
    [
      'MAP-16: overflow before flags 0 in 7.2',
      { flags: 0, vaddr: END - 0x1000n, size: 0x2000n },
      'EINVAL',
      'EOVERFLOW',
    ],
    ['MAP-6: VADDR where nothing is', { flags: VADDR }, 'ENOENT', 'ENOENT'],
    ['MAP-9: in the MSI window', { iova: 0xfee00000n }, 'EINVAL', 'EINVAL'],
    ['MAP-9: into the MSI window', { iova: 0xfedff000n, size: 0x2000n }, 'EINVAL', 'EINVAL'],
    ['MAP-9: beyond the aperture', { iova: 0x80_0000_0000n }, 'EINVAL', 'EINVAL'],
    ['MAP-13: nothing at vaddr', { vaddr: 0x1000n }, 'EFAULT', 'EFAULT'],
  ];

  it.each(lines)('%s', (_name, wrong, in612, in72) => {
    const answers = PROFILE_NAMES.map((profile) => {
      const vaddr = BigInt(start({ profile }));
      const { flags, iova, size, vaddr: at } = { flags: RW, iova: 0n, size: 0x1000n, vaddr, ...wrong };
      return errnoOf(() => container.map(iova, size, at, flags));
    });
    expect(answers).toEqual([in612, in612, in612, in72]);
    expect(container.type1.stats.mappings).toBe(0);
    expect(container.process.mm.lockedVm).toBe(0);
  });

  it.each([
    ['touches none', 0x14000, 0x1000, 'ok'],
    ['is the same', 0x10000, 0x4000, 'EEXIST'],
    ['starts below', 0xf000, 0x2000, 'EEXIST'],
    ['ends above', 0x13000, 0x2000, 'EEXIST'],
    ['is inside', 0x11000, 0x1000, 'EEXIST'],
    ['covers it', 0, 0x20000, 'EEXIST'],
  ])('MAP-5, MAP-7: a range that %s', (_name, iova, size, code) => {
    const vaddr = start();
    container.map(0x10000, 0x4000, vaddr);
    expect(errnoOf(() => container.map(iova, size, vaddr))).toBe(code);
    expect(errnoOf(() => container.map(0x10000, 0x4000, vaddr))).toBe('EEXIST');
  });

  it('MAP-7: an invalid entry blocks a normal map too', () => {
    const vaddr = start();
    container.map(0, PAGE, vaddr);
    container.unmap(0, PAGE, UNMAP_VADDR);
    expect(errnoOf(() => container.map(0, PAGE, vaddr))).toBe('EEXIST');
  });

  it('MAP-8: the entry limit is ENOSPC, tested after overlap and before the valid range and the vaddr', () => {
    const vaddr = start({ parameters: { dmaEntryLimit: 1, allowUnsafeInterrupts: false } });
    container.map(0, PAGE, vaddr);
    expect(errnoOf(() => container.map(0, PAGE, vaddr))).toBe('EEXIST');
    expect(errnoOf(() => container.map(0xfee00000, PAGE, 0))).toBe('ENOSPC');
    container.unmap(0, PAGE);
    expect(errnoOf(() => container.map(PAGE, PAGE, vaddr))).toBe('ok');
  });
});

describe('pinning', () => {
  it('MAP-11: a hole at page k leaves nothing: no entry, no charge, no translation, no pin', () => {
    const vaddr = start();
    container.process.space.unmap(vaddr + 5 * PAGE, PAGE);
    expect(errnoOf(() => container.map(0, 16 * PAGE, vaddr))).toBe('EFAULT');
    expect(container.type1.stats.mappings).toBe(0);
    expect(container.dmaAvail()).toBe(65535);
    expect(container.process.mm.lockedVm).toBe(0);
    expect(container.machine.pinner.pinnedPages).toBe(0);
    expect(container.reaches(0)).toBe(false);
    expect(errnoOf(() => container.map(0, 5 * PAGE, vaddr))).toBe('ok');
  });

  it('MAP-12: without an IOMMU domain nothing is pinned, so any vaddr will do', () => {
    start({ real: false });
    container.type1.attachGroup(container.emulatedGroup, container.process.task());
    container.map(0, 16 * PAGE, 0x1000);
    expect(container.machine.pinner.pinnedPages).toBe(0);
    expect(container.type1.stats).toEqual({ mappings: 1, mappedBytes: 16 * PAGE, invalidVaddrs: 0 });
  });

  it.each([
    ['r', READ, 'ok'],
    ['r', WRITE, 'EFAULT'],
    ['r', RW, 'EFAULT'],
    ['w', READ, 'EFAULT'],
    ['w', WRITE, 'ok'],
    ['w', RW, 'ok'],
    ['n', READ, 'EFAULT'],
  ])('MAP-13: CPU mapping %s, device access %s', (prot, flags, code) => {
    const vaddr = start();
    container.process.space.protect(vaddr, 64 * PAGE, prot);
    expect(errnoOf(() => container.map(0, PAGE, vaddr, flags))).toBe(code);
  });

  it('ACC-1: a device reaches exactly what is mapped, through entries of several mappings', () => {
    const vaddr = start();
    const other = container.memory(16 * PAGE);
    container.map(0x10000, 4 * PAGE, vaddr);
    container.map(0x14000, 2 * PAGE, other);
    const reached = [0xf000, 0x10000, 0x13000, 0x14000, 0x15000, 0x16000].map((iova) => container.reaches(iova));
    expect(reached).toEqual([false, true, true, true, true, false]);
    expect(container.process.space.peek(vaddr + 3 * PAGE, 1)[0]).toBe(0xa5);
    expect(container.process.space.peek(other + PAGE, 1)[0]).toBe(0xa5);
  });
});

describe('last page of 2^64 (RACE-10)', () => {
  it('maps and unmaps in 7.2', () => {
    start({ profile: '7.2', real: false });
    container.type1.attachGroup(container.emulatedGroup, container.process.task());
    container.map(END - 0x1000n, 0x1000n, 0x1000);
    expect(errnoOf(() => container.map(END - 0x1000n, 0x1000n, 0x1000))).toBe('EEXIST');
    expect(container.unmap(END - 0x1000n, 0x1000n)).toBe(0x1000n);
    expect(container.type1.stats.mappings).toBe(0);
  });

  it('is found in 6.12 by nobody but an UNMAP ALL that comes by another mapping first', () => {
    start({ real: false });
    container.type1.attachGroup(container.emulatedGroup, container.process.task());
    container.map(END - 0x1000n, 0x1000n, 0x1000);
    expect(container.unmap(END - 0x1000n, 0x1000n)).toBe(0n);
    expect(container.unmap(END - 0x2000n, 0x2000n)).toBe(0n);
    expect(container.unmapAll()).toBe(0n);
    container.map(0, 0x1000, 0x1000);
    expect(container.unmap(0, 0x1000)).toBe(0n); // it stands to the left of the other in the tree
    expect(container.type1.stats.mappings).toBe(2);

    start({ real: false });
    container.type1.attachGroup(container.emulatedGroup, container.process.task());
    container.map(0, 0x1000, 0x1000);
    container.map(END - 0x1000n, 0x1000n, 0x1000);
    expect(container.unmapAll()).toBe(0x2000n);
    container.map(0, 0x1000, 0x1000);
    container.map(END - 0x1000n, 0x1000n, 0x1000);
    // nobody finds that it is there already; now it hides the other
    container.map(END - 0x1000n, 0x1000n, 0x1000);
    expect(container.unmap(0, 0x1000)).toBe(0n);
    expect(container.type1.stats.mappings).toBe(3);
    container.type1.detachGroup(container.emulatedGroup);
    expect(container.type1.stats.mappings).toBe(0);
  });
});

it('ACC-1: with disable_hugepages pages are pinned and mapped one by one', () => {
  const written = [false, true].map((disableHugepages) => {
    container = new TestContainer({ parameters: { ...DEFAULT_PARAMETERS, disableHugepages } });
    container.map(0, 0x20_0000, container.memory(0x20_0000));
    const { pteWrites } = container.machine.driver;
    container.type1.release();
    return pteWrites;
  });
  expect(written).toEqual([1 + 1, 512 + 2]); // leaves and tables
});
