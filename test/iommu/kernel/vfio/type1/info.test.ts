import { afterEach, describe, expect, it } from 'vitest';
import { Type1Info, VFIO_IOMMU_GET_INFO } from '../../../../../iommu/abi/vfio.ts';
import { PROFILE_NAMES, type ProfileName } from '../../../../../iommu/kernel/core/profile.ts';
import { UserArg } from '../../../../../iommu/kernel/core/user-arg.ts';
import { DEFAULT_PARAMETERS } from '../../../../../iommu/kernel/vfio/type1/vfio-iommu.ts';
import { errnoOf, TestContainer } from './container.ts';

let container: TestContainer;
afterEach(() => container.close());

const MIGRATION = '02000100380000000000000000000000' + '0010000000000000' + '0000001000000000';
const RANGES = '0000000000000000ffffdffe00000000' + '0000f0fe00000000ffffffff7f000000';
const UNPADDED = `${MIGRATION}0300010044000000ffff0000${'0100010000000000'}${'0200000000000000'}${RANGES}`;
/**
 * The whole chain, as recorded from kernels (NUM-7): DMA_AVAIL at 56, IOVA_RANGE at 68 or, padded,
 * at 72.
 */
const CHAIN: Readonly<Record<ProfileName, string>> = {
  '5.12': UNPADDED,
  '6.2': UNPADDED,
  '6.12': `${MIGRATION}0300010048000000ffff000000000000${'0100010000000000'}${'0200000000000000'}${RANGES}`,
  '7.2': `${MIGRATION}0300010048000000ffff000000000000${'0100010000000000'}${'0200000000000000'}${RANGES}`,
};
const NEEDED: Readonly<Record<ProfileName, number>> = { '5.12': 116, '6.2': 116, '6.12': 120, '7.2': 120 };
const PGSIZES = '0010204000000000';

const hex = (value: number): string => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes.toString('hex');
};

/** What the caller's 256 bytes of 0xee must hold afterwards. */
function expected(argsz: number, profile: ProfileName): string {
  const needed = NEEDED[profile];
  const fits = argsz >= needed;
  const head = `${hex(fits ? argsz : needed)}03000000${PGSIZES}${hex(fits ? 24 : 0)}00000000`;
  const most = profile === '5.12' || profile === '6.2' ? (argsz >= 20 ? 20 : 16) : Math.min(argsz, 24);
  const written = Buffer.from(head, 'hex').subarray(0, most);
  const bytes = Buffer.alloc(256, 0xee);
  bytes.set(written);
  if (fits) bytes.set(Buffer.from(CHAIN[profile], 'hex'), 24);
  return bytes.toString('hex');
}

describe.each(PROFILE_NAMES)('GET_INFO of %s', (profile) => {
  it('NUM-6, NUM-7, NUM-8, RACE-13: answers every argsz from 16 to 256 byte for byte', () => {
    container = new TestContainer({ profile });
    const answers = Array.from({ length: 241 }, (_, i) => Buffer.from(container.info(16 + i)).toString('hex'));
    expect(answers).toEqual(answers.map((_, i) => expected(16 + i, profile)));
  });

  it.each([0, 1, 8, 15])('NUM-8: argsz %i is EINVAL', (argsz) => {
    container = new TestContainer({ profile });
    expect(errnoOf(() => container.info(argsz))).toBe('EINVAL');
  });
});

describe('open (ST-3)', () => {
  function opened(iommuType: number, dmaEntryLimit = 65535): void {
    container = new TestContainer({ real: false, parameters: { ...DEFAULT_PARAMETERS, dmaEntryLimit } });
    Object.assign(container, { type1: container.open(iommuType) });
    container.type1.attachGroup(container.emulatedGroup, container.process.task());
  }

  // Version 2 refuses an UNMAP that splits a mapping, version 1 does not.
  it.each([
    ['TYPE1', 1, 'ok'],
    ['TYPE1v2', 3, 'EINVAL'],
    ['TYPE1_NESTING', 6, 'EINVAL'],
  ])('%s is the version that it is', (_name, iommuType, splitting) => {
    opened(iommuType);
    container.map(0, 0x2000, container.memory(0x2000));
    expect(errnoOf(() => container.unmap(0, 0x1000))).toBe(splitting);
  });

  it.each([0, 2, 4, 5, 7, 8, 9])('there is no IOMMU type %i', (iommuType) => {
    container = new TestContainer();
    expect(errnoOf(() => container.open(iommuType))).toBe('EINVAL');
  });

  it('every entry of the limit can be had, and no more', () => {
    opened(3, 2);
    expect(container.dmaAvail()).toBe(2);
    const vaddr = container.memory(4096);
    const maps = [0, 1, 2].map((page) => errnoOf(() => container.map(page * 4096, 4096, vaddr)));
    expect(maps).toEqual(['ok', 'ok', 'ENOSPC']);
  });
});

describe('GET_INFO', () => {
  it.each([
    ['a bad pointer', 0],
    ['15 bytes that can be read', Type1Info.bytes({ argsz: 16 }, 15)],
    ['a struct that ends in the middle of the chain', Type1Info.bytes({ argsz: 120 }, 100)],
  ])('%s is EFAULT', (_name, arg) => {
    container = new TestContainer();
    const call = () => container.type1.ioctl(VFIO_IOMMU_GET_INFO, new UserArg(arg), container.process.task());
    expect(errnoOf(call)).toBe('EFAULT');
  });

  it('NUM-7, ST-1: without a domain all page sizes from 4 KiB up and no IOVA_RANGE', () => {
    container = new TestContainer({ real: false });
    container.type1.attachGroup(container.emulatedGroup, container.process.task());
    const view = new DataView(container.info(256).buffer);
    expect(view.getBigUint64(8, true)).toBe(0xffff_ffff_ffff_f000n);
    expect([view.getUint32(24 + 4, true), view.getUint32(56 + 4, true)]).toEqual([56, 0]);
  });

  it('DMA_AVAIL falls with each mapping', () => {
    container = new TestContainer();
    const vaddr = container.memory(4096);
    container.map(0, 4096, vaddr);
    container.map(4096, 4096, vaddr);
    expect(container.dmaAvail()).toBe(65533);
  });
});

describe('CHECK_EXTENSION (ST-2)', () => {
  // Extensions 0…11: 1 TYPE1, 3 TYPE1v2, 4 DMA_CC, 6 NESTING, 9 UNMAP_ALL, 10 UPDATE_VADDR.
  it.each([
    ['5.12', 'real', '010100100110'],
    ['5.12', 'emulated', '010110100110'],
    ['6.2', 'real', '010100100110'],
    ['6.2', 'emulated', '010110100110'],
    ['6.12', 'real', '010100100110'],
    ['6.12', 'emulated', '010110100100'],
    ['7.2', 'real', '010100000110'],
    ['7.2', 'emulated', '010110000100'],
  ] as const)('%s with a %s group', (profile, kind, answers) => {
    container = new TestContainer({ profile, real: kind === 'real' });
    if (kind === 'emulated') container.type1.attachGroup(container.emulatedGroup, container.process.task());
    const got = Array.from({ length: 12 }, (_, i) => container.type1.checkExtension(i)).join('');
    expect(got).toBe(answers);
  });

  it('DMA_CC is 1 when every domain is coherent', () => {
    container = new TestContainer({ machine: { driver: { coherent: true } } });
    expect(container.type1.checkExtension(4)).toBe(1);
  });
});
