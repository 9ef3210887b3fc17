import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import {
  DeviceFeature,
  DeviceFeatureDmaBuf,
  DeviceInfo,
  DeviceIoeventfd,
  IrqInfo,
  PciHotReset,
  RegionDmaRange,
  RegionInfo,
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_DMA_BUF,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
  VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP,
  VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
  VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2,
  VFIO_DEVICE_FEATURE_PROBE,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_DEVICE_GET_INFO,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_GET_PCI_HOT_RESET_INFO,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_DEVICE_IOEVENTFD,
  VFIO_DEVICE_PCI_HOT_RESET,
  VFIO_DEVICE_QUERY_GFX_PLANE,
  VFIO_DEVICE_RESET,
} from '../../../../../iommu/abi/vfio.ts';
import { EFD_CLOEXEC, EFD_NONBLOCK, eventfd, eventfdSignal } from '../../../../../platform/libc/eventfd.ts';
import { close } from '../../../../../platform/libc/fd.ts';
import { FakeFunction } from '../../../../fakes/fake-function.ts';
import { attempt, FakeVfioDevice, NOT_OPEN } from '../../../../fakes/fake-vfio-device.ts';

const PAGE = 4096;

const filled = (length: number, argsz: number): Uint8Array => {
  const arg = new Uint8Array(length).fill(0xee);
  new DataView(arg.buffer).setUint32(0, argsz, true);
  return arg;
};
/** How many bytes of `arg` are no longer the 0xee it was filled with. */
const written = (arg: Uint8Array): number => arg.findLastIndex((byte) => byte !== 0xee) + 1;

let pci: FakeFunction;
let fake: FakeVfioDevice;
let event: number;

function build(profile: '5.12' | '6.12' | '7.2'): void {
  pci = new FakeFunction([
    { index: 0, size: 0x10_0000 },
    { index: 1, size: 256 },
    { index: 2, size: 2 ** 33, is64: true },
  ]);
  pci.capabilities([5, 0x40, [0x86, 0]]);
  fake = new FakeVfioDevice(pci, profile);
}

beforeEach(() => {
  build('6.12');
  event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
});
afterEach(() => {
  fake.close();
  close(event);
});

describe('the name for GET_DEVICE_FD', () => {
  it.each([
    ['', true],
    [' ', true],
    ['   ', true],
    ['0', false],
    ['\t', false],
    [' x', '-EINVAL'],
    [' vf_token=00000000-0000-0000-0000-000000000000', '-EINVAL'],
  ])('CORE-6: the bdf and %j behind it: %s', (rest, expected) => {
    expect(attempt(() => fake.device.matches(`${fake.device.name}${rest}`))).toBe(expected);
  });

  it.each(['', '0000:00:02', '0000:00:03.0', ' 0000:00:02.0'])('CORE-6: %j is another device', (name) => {
    expect(fake.device.matches(name)).toBe(false);
  });
});

describe('GET_INFO', () => {
  it.each([
    ['6.12', 16, 16],
    ['6.12', 17, 17],
    ['6.12', 20, 20],
    ['6.12', 24, 24],
    ['6.12', 64, 24],
    ['5.12', 16, 16],
    ['5.12', 19, 16],
    ['5.12', 20, 20],
    ['5.12', 64, 20],
  ] as const)('profile %s with argsz %i writes %i bytes', async (profile, argsz, bytes) => {
    build(profile);
    const arg = filled(64, argsz);

    expect(await fake.ioctl(VFIO_DEVICE_GET_INFO, arg)).toBe(0);

    expect(written(arg)).toBe(bytes);
    expect(DeviceInfo.read(new DataView(arg.buffer))).toMatchObject({ argsz, flags: 2, num_regions: 9, num_irqs: 5 });
  });

  it('wants argsz of 16 and as many bytes, and writes what it can of the rest', async () => {
    expect(await fake.ioctl(VFIO_DEVICE_GET_INFO, filled(64, 15))).toBe('-EINVAL');
    expect(await fake.ioctl(VFIO_DEVICE_GET_INFO, filled(15, 20))).toBe('-EFAULT');
    const short = filled(18, 20);
    expect(await fake.ioctl(VFIO_DEVICE_GET_INFO, short)).toBe('-EFAULT');
    expect(written(short)).toBe(18);
  });
});

describe('GET_REGION_INFO (PCI-1)', () => {
  it.each([
    [0, 7, 0x10_0000],
    [1, 7, 256],
    [2, 7, 2 ** 33],
    [3, 0, 0],
    [6, 0, 0],
    [7, 3, 256],
  ])('region %i has flags %i and %i bytes', async (index, flags, size) => {
    const arg = RegionInfo.bytes({ argsz: 32, index, cap_offset: 0xeeee_eeee });

    expect(await fake.ioctl(VFIO_DEVICE_GET_REGION_INFO, arg)).toBe(0);

    expect(RegionInfo.read(new DataView(arg.buffer))).toEqual({
      argsz: 32,
      flags,
      index,
      cap_offset: 0xeeee_eeee,
      size: BigInt(size),
      offset: BigInt(index) << 40n,
    });
  });

  it.each([[8], [9], [0xffff_ffff]])('region %i is EINVAL', async (index) => {
    expect(await fake.ioctl(VFIO_DEVICE_GET_REGION_INFO, RegionInfo.bytes({ argsz: 32, index }))).toBe('-EINVAL');
  });

  it('is EINVAL for a small argsz, EFAULT for a short struct', async () => {
    expect(await fake.ioctl(VFIO_DEVICE_GET_REGION_INFO, RegionInfo.bytes({ argsz: 31 }))).toBe('-EINVAL');
    expect(await fake.ioctl(VFIO_DEVICE_GET_REGION_INFO, RegionInfo.bytes({ argsz: 32 }, 31))).toBe('-EFAULT');
  });
});

describe('GET_IRQ_INFO (PCI-2)', () => {
  it.each([
    [0, 7, 1],
    [1, 9, 8],
    [2, 9, 0],
    [4, 9, 1],
  ])('index %i has flags %i and %i interrupts', async (index, flags, count) => {
    const arg = IrqInfo.bytes({ argsz: 16, index });

    expect(await fake.ioctl(VFIO_DEVICE_GET_IRQ_INFO, arg)).toBe(0);

    expect(IrqInfo.read(new DataView(arg.buffer))).toEqual({ argsz: 16, flags, index, count });
  });

  it.each([
    [16, 3],
    [16, 5],
    [15, 0],
  ])('argsz %i, index %i is EINVAL', async (argsz, index) => {
    expect(await fake.ioctl(VFIO_DEVICE_GET_IRQ_INFO, IrqInfo.bytes({ argsz, index }))).toBe('-EINVAL');
  });
});

describe('resets (PCI-6, PCI-10)', () => {
  it('RESET is EINVAL: no function here has one', async () => {
    expect(await fake.ioctl(VFIO_DEVICE_RESET, 0)).toBe('-EINVAL');
  });

  it.each([
    [11, '-EINVAL'],
    [12, '-ENODEV'],
    [64, '-ENODEV'],
  ])('GET_PCI_HOT_RESET_INFO with argsz %i is %s', async (argsz, expected) => {
    expect(await fake.ioctl(VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, filled(64, argsz))).toBe(expected);
  });

  it.each([
    ['6.12', { argsz: 11 }, '-EINVAL'],
    ['6.12', { argsz: 12, flags: 1 }, '-EINVAL'],
    ['6.12', { argsz: 12, count: 0 }, '-EINVAL'],
    ['5.12', { argsz: 12, count: 0 }, '-ENODEV'],
    ['6.12', { argsz: 12, count: 1000 }, '-ENODEV'],
  ] as const)('profile %s: PCI_HOT_RESET of %o is %s', async (profile, fields, expected) => {
    build(profile);

    expect(await fake.ioctl(VFIO_DEVICE_PCI_HOT_RESET, PciHotReset.bytes(fields))).toBe(expected);
  });

  it('a number of other devices is ENOTTY', async () => {
    expect(await fake.ioctl(VFIO_DEVICE_QUERY_GFX_PLANE, new Uint8Array(64))).toBe('-ENOTTY');
  });
});

describe('FEATURE', () => {
  const ENTRY = VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY;
  const EXIT = VFIO_DEVICE_FEATURE_LOW_POWER_EXIT;
  const WITH_WAKEUP = VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP;
  const GET = VFIO_DEVICE_FEATURE_GET;
  const SET = VFIO_DEVICE_FEATURE_SET;
  const PROBE = VFIO_DEVICE_FEATURE_PROBE;
  const feature = (argsz: number, flags: number): Promise<number | string> =>
    fake.ioctl(VFIO_DEVICE_FEATURE, DeviceFeature.bytes({ argsz, flags }, 32));

  it.each([
    [7, ENTRY | SET, '-EINVAL'],
    [8, 1 << 19, '-EINVAL'],
    [8, 0, '-ENOTTY'],
    [8, PROBE | 9, '-ENOTTY'],
    [8, GET | SET, '-EINVAL'],
    [8, GET | SET | PROBE, '-ENOTTY'],
    [8, ENTRY, '-EINVAL'],
    [8, ENTRY | GET, '-EINVAL'],
    [8, ENTRY | PROBE, 0],
    [8, ENTRY | PROBE | SET, 0],
    [8, ENTRY | PROBE | GET, '-EINVAL'],
    [8, ENTRY | SET, 0],
    [8, EXIT | SET, 0],
    [8, WITH_WAKEUP | SET, '-EINVAL'],
    [8, WITH_WAKEUP | PROBE, 0],
    [16, WITH_WAKEUP | SET, '-EINVAL'], // fd 0 is no eventfd
  ])('argsz %i, flags 0x%s is %s', async (argsz, flags, expected) => {
    expect(await feature(argsz, flags)).toBe(expected);
  });

  it.each([
    [8, PROBE, 0],
    [8, PROBE | GET, 0],
    [8, PROBE | SET, '-EINVAL'],
    [24, SET, '-EINVAL'],
    [24, 0, '-EINVAL'],
    [23, GET, '-EINVAL'],
    [24, GET, '-EINVAL'], // no ranges
  ])('DMA_BUF, argsz %i, flags 0x%s is %s in 7.2, unknown before (P2P-9)', async (argsz, flags, expected) => {
    expect(await feature(argsz, flags | VFIO_DEVICE_FEATURE_DMA_BUF)).toBe('-ENOTTY');
    fake.close();
    build('7.2');
    expect(await feature(argsz, flags | VFIO_DEVICE_FEATURE_DMA_BUF)).toBe(expected);
  });

  it.each([0, PROBE, SET])('MIG_PRECOPY_INFOv2, flags 0x%s: EINVAL in 7.2, unknown before', async (flags) => {
    expect(await feature(8, flags | VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2)).toBe('-ENOTTY');
    fake.close();
    build('7.2');
    expect(await feature(8, flags | VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2)).toBe('-EINVAL');
    expect(await feature(8, flags | (VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2 + 1))).toBe('-ENOTTY');
  });

  it.each([
    ['flags', { flags: 1 }, [[0, PAGE]], '-EINVAL'],
    ['the ROM', { region_index: 6 }, [[1, 1]], '-ENODEV'],
    ['ranges that are not there', { nr_ranges: 3 }, [[0, PAGE]], '-EFAULT'],
    ['an offset in a page', {}, [[8, PAGE]], '-EINVAL'],
    ['no length', {}, [[0, 0]], '-EINVAL'],
    ['part of a page', {}, [[0, PAGE + 8]], '-EINVAL'],
    ['more than a length can say', {}, [[0, 2 ** 63]], '-EINVAL'],
    ['a BAR that is not there', { region_index: 4 }, [[0, PAGE]], '-EINVAL'],
    ['more than the BAR', {}, [[0xf_f000, 2 * PAGE]], '-EINVAL'],
    [
      'the end of 2^64',
      {},
      [
        [2 ** 64 - PAGE, PAGE],
        [0, PAGE],
      ].reverse(),
      '-EOVERFLOW',
    ],
    [
      'what a kernel would serve',
      {},
      [
        [0, PAGE],
        [0xf_f000, PAGE],
      ],
      '-EOPNOTSUPP',
    ],
  ] as const)('DMA_BUF of %s (P2P-9)', async (_, fields, ranges, expected) => {
    fake.close();
    build('7.2');
    const arg = Buffer.concat([
      DeviceFeature.bytes({ argsz: 24 + 16 * ranges.length, flags: GET | VFIO_DEVICE_FEATURE_DMA_BUF }),
      DeviceFeatureDmaBuf.bytes({ region_index: 0, open_flags: 0, flags: 0, nr_ranges: ranges.length, ...fields }),
      ...ranges.map(([offset, length]) => RegionDmaRange.bytes({ offset: BigInt(offset), length: BigInt(length) })),
    ]);
    expect(await fake.ioctl(VFIO_DEVICE_FEATURE, Uint8Array.from(arg))).toBe(expected);
  });

  it('in low power the BARs do not answer; entering twice is EINVAL, leaving twice is not', async () => {
    await feature(8, ENTRY | SET);
    expect(fake.read(0, 0, 4)).toBe('-EIO');
    expect(await feature(8, ENTRY | SET)).toBe('-EINVAL');

    expect([await feature(8, EXIT | SET), await feature(8, EXIT | SET)]).toEqual([0, 0]);

    expect(fake.read(0, 0, 4)).toBe('00000000');
  });
});

describe('IOEVENTFD', () => {
  const ioeventfd = (fields: {
    offset: number;
    flags?: number;
    data?: number;
    fd: number;
    argsz?: number;
  }): Promise<number | string> => {
    const { offset, flags = 4, data = 1, fd, argsz = 32 } = fields;
    const arg = DeviceIoeventfd.bytes({ argsz, flags, offset: BigInt(offset), data: BigInt(data), fd });
    return fake.ioctl(VFIO_DEVICE_IOEVENTFD, arg);
  };
  const region = (index: number, at = 0): number => index * 2 ** 40 + at;

  it.each([
    ['27 bytes', { offset: 0, fd: -1, argsz: 27 }, '-EINVAL'],
    ['no width', { offset: 0, flags: 0, fd: -1 }, '-EINVAL'],
    ['two widths', { offset: 0, flags: 3, fd: -1 }, '-EINVAL'],
    ['an unknown flag', { offset: 0, flags: 0x14, fd: -1 }, '-EINVAL'],
    ['fd −2', { offset: 0, fd: -2 }, '-EINVAL'],
    ['a region that is no BAR', { offset: region(7), fd: -1 }, '-EINVAL'],
    ['a BAR that is not there', { offset: region(4), fd: -1 }, '-EINVAL'],
    ['the end of a BAR', { offset: 0xf_fffe, fd: -1 }, '-EINVAL'],
    ['removing what is not there', { offset: 0, fd: -1 }, '-ENODEV'],
    ['a fd that is not open', { offset: 0, fd: NOT_OPEN }, '-EBADF'],
  ])('%s: %o is %s', async (_, fields, expected) => {
    expect(await ioeventfd(fields)).toBe(expected);
  });

  it('is gone with the last close: the device of the next user hears nothing of it (PCI-9)', async () => {
    const later = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    await ioeventfd({ offset: 0x10, data: 1, fd: event });
    fake.reopen();
    await ioeventfd({ offset: 0x20, data: 1, fd: later });

    eventfdSignal(event);
    eventfdSignal(later);

    await vi.waitUntil(() => pci.cycles.includes('w4 0:20'));
    expect(pci.cycles).toEqual(['w4 0:20']);
    close(later);
  });

  it('writes its data to its BAR when it is signalled, until it is removed', async () => {
    expect(await ioeventfd({ offset: 0x10, data: 0x1234_5678, fd: event })).toBe(0);
    expect(await ioeventfd({ offset: 0x10, data: 0x1234_5678, fd: event })).toBe('-EEXIST');

    eventfdSignal(event);

    await vi.waitUntil(() => pci.cycles.length > 0);
    expect(pci.cycles).toEqual(['w4 0:10']);
    expect(new DataView(pci.memory.get(0)!.buffer).getUint32(0x10, true)).toBe(0x1234_5678);
    expect(await ioeventfd({ offset: 0x10, data: 0x1234_5678, fd: -1 })).toBe(0);
    expect(await ioeventfd({ offset: 0x10, data: 0x1234_5678, fd: -1 })).toBe('-ENODEV');
  });

  it.each([
    ['6.12', 0],
    ['7.2', '-EINVAL'],
  ] as const)('profile %s: 8 bytes at any offset is %s', async (profile, expected) => {
    fake.close();
    build(profile);

    expect(await ioeventfd({ offset: 4, flags: 8, fd: event })).toBe(expected);
    expect(await ioeventfd({ offset: 16, flags: 8, fd: event })).toBe(expected);
  });
});
