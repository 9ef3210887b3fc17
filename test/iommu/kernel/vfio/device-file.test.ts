import { describe, expect, it } from 'vitest';
import {
  DeviceFeature,
  VFIO_DEVICE_FEATURE,
  VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
  VFIO_DEVICE_FEATURE_GET,
  VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
  VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
  VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2,
  VFIO_DEVICE_FEATURE_MIGRATION,
  VFIO_DEVICE_FEATURE_PROBE,
  VFIO_DEVICE_FEATURE_SET,
  VFIO_DEVICE_GET_INFO,
} from '../../../../iommu/abi/vfio.ts';
import type { Caller } from '../../../../iommu/kernel/core/open-file.ts';
import { PROFILE_NAMES, type ProfileName, profileOf } from '../../../../iommu/kernel/core/profile.ts';
import { UserArg } from '../../../../iommu/kernel/core/user-arg.ts';
import type { DeviceOps } from '../../../../iommu/kernel/vfio/device.ts';
import { DeviceFile } from '../../../../iommu/kernel/vfio/device-file.ts';
import { SysError } from '../../../../platform/errno.ts';

const caller = {} as Caller;
const PROBE = VFIO_DEVICE_FEATURE_PROBE;
const MIGRATION = VFIO_DEVICE_FEATURE_MIGRATION;

/** The return value or '-ERRNO'. */
function outcome(call: () => unknown): unknown {
  try {
    return call();
  } catch (error) {
    if (error instanceof SysError) return `-${error.code}`;
    throw error;
  }
}

const fileOf = (ops: Partial<DeviceOps>, profile: ProfileName = '6.12'): DeviceFile =>
  new DeviceFile({ name: 'made-up', release: () => undefined, ...ops }, profileOf(profile));

const feature = (file: DeviceFile, argsz: number, flags: number): unknown =>
  outcome(() => file.ioctl(VFIO_DEVICE_FEATURE, new UserArg(DeviceFeature.bytes({ argsz, flags })), caller));

describe('a device whose driver does nothing', () => {
  it('answers EINVAL to an ioctl and to mmap, whatever their arguments', () => {
    const file = fileOf({});
    const mapping = { offset: 0, length: 4096, shared: true };
    expect(outcome(() => file.ioctl(VFIO_DEVICE_GET_INFO, new UserArg(0), caller))).toBe('-EINVAL');
    expect(outcome(() => file.mmap(mapping, caller))).toBe('-EINVAL');
  });

  it('has nothing to read or write, so that the system call is EINVAL', () => {
    const file = fileOf({});
    expect([file.pread, file.pwrite]).toEqual([undefined, undefined]);
  });

  it.each([
    [7, MIGRATION | PROBE, '-EINVAL'],
    [8, MIGRATION | (1 << 19), '-EINVAL'],
    [8, MIGRATION | VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET, '-EINVAL'],
    [8, MIGRATION | VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET | PROBE, '-ENOTTY'],
    [8, VFIO_DEVICE_FEATURE_DMA_LOGGING_START | PROBE, '-ENOTTY'],
    [8, VFIO_DEVICE_FEATURE_MIG_DATA_SIZE, '-ENOTTY'],
  ])('FEATURE, argsz %i, flags 0x%s: the core looks at the arguments first: %s', (argsz, flags, expected) => {
    expect(feature(fileOf({}), argsz, flags)).toBe(expected);
    expect(feature(fileOf({}, '5.12'), argsz, flags)).toBe(expected);
  });

  it('FEATURE of which only the pointer is wrong is EFAULT', () => {
    expect(outcome(() => fileOf({}).ioctl(VFIO_DEVICE_FEATURE, new UserArg(0), caller))).toBe('-EFAULT');
  });

  it.each(PROFILE_NAMES)('FEATURE of a driver is %s’s errno for a driver without (NUM-3)', (profile) => {
    const expected = profile === '6.12' || profile === '7.2' ? '-ENOTTY' : '-EINVAL';
    expect(feature(fileOf({}, profile), 8, VFIO_DEVICE_FEATURE_LOW_POWER_EXIT | PROBE)).toBe(expected);
  });

  it('FEATURE MIG_PRECOPY_INFOv2 is EINVAL where it is known', () => {
    const answers = (['6.12', '7.2'] as const).map((profile) =>
      feature(fileOf({}, profile), 8, VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2 | PROBE),
    );
    expect(answers).toEqual(['-ENOTTY', '-EINVAL']);
  });
});

describe('a device whose driver does something', () => {
  it('is asked what is not the core’s: ioctls, features with the room for their data, reads, writes', () => {
    const asked: unknown[] = [];
    const file = fileOf({
      ioctl: (nr) => asked.push(nr),
      feature: (request) => asked.push(request),
      pread: () => Uint8Array.of(7),
      pwrite: () => 1,
    });
    file.ioctl(VFIO_DEVICE_GET_INFO, new UserArg(0), caller);
    feature(file, 24, VFIO_DEVICE_FEATURE_LOW_POWER_EXIT | PROBE);
    expect(asked).toEqual([
      VFIO_DEVICE_GET_INFO,
      { feature: VFIO_DEVICE_FEATURE_LOW_POWER_EXIT, flags: VFIO_DEVICE_FEATURE_LOW_POWER_EXIT | PROBE, room: 16 },
    ]);
    expect([file.pread?.(0n, 1), file.pwrite?.(0n, Uint8Array.of(0))]).toEqual([Uint8Array.of(7), 1]);
  });
});
