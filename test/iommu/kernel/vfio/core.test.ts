import { beforeEach, describe, expect, it } from 'vitest';
import {
  GroupStatus,
  VFIO_CHECK_EXTENSION,
  VFIO_GET_API_VERSION,
  VFIO_GROUP_GET_DEVICE_FD,
  VFIO_GROUP_GET_STATUS,
  VFIO_GROUP_SET_CONTAINER,
  VFIO_GROUP_UNSET_CONTAINER,
  VFIO_IOMMU_MAP_DMA,
  VFIO_SET_IOMMU,
} from '../../../../iommu/abi/vfio.ts';
import { type Caller, type FileOperations, OpenFile } from '../../../../iommu/kernel/core/open-file.ts';
import { type ProfileName, profileOf } from '../../../../iommu/kernel/core/profile.ts';
import type { Task } from '../../../../iommu/kernel/core/task.ts';
import { UserArg } from '../../../../iommu/kernel/core/user-arg.ts';
import type { IommuDevice } from '../../../../iommu/kernel/driver/domain.ts';
import type { ContainerIommu, IommuGroup, VfioIommuDriver } from '../../../../iommu/kernel/vfio/container-iommu.ts';
import type { VfioDevice } from '../../../../iommu/kernel/vfio/device.ts';
import { Vfio } from '../../../../iommu/kernel/vfio/vfio.ts';
import { ebadf, einval, SysError } from '../../../../platform/errno.ts';

/**
 * VFIO core by rule id, with a type1 that only keeps a diary, and devices that only count their
 * opens.
 */

class Diary implements VfioIommuDriver {
  readonly entries: string[] = [];
  /** Groups whose attach fails, and the errno. */
  readonly failing = new Map<number, string>();
  /** Groups whose attach sleeps until the function is called. */
  readonly sleeping = new Map<number, () => void>();
  readonly sleepOn = new Set<number>();

  checkExtension(extension: number): number {
    this.entries.push(`check ${extension} without state`);
    return [1, 3, 9].includes(extension) ? 1 : 0;
  }

  open(iommuType: number): ContainerIommu {
    this.entries.push(`open ${iommuType}`);
    if (iommuType === 9) throw einval('not a type');
    return new DiaryIommu(this);
  }
}

class DiaryIommu implements ContainerIommu {
  readonly #diary: Diary;
  readonly stats = { mappings: 0, mappedBytes: 0, invalidVaddrs: 0 };

  constructor(diary: Diary) {
    this.#diary = diary;
  }

  attachGroup({ id }: IommuGroup): void | Promise<void> {
    const { entries, failing, sleepOn, sleeping } = this.#diary;
    const code = failing.get(id);
    if (code) throw new SysError(code, 'attach fails');
    const attached = (): void => void entries.push(`attach ${id}`);
    if (sleepOn.has(id)) return new Promise<void>((resolve) => sleeping.set(id, resolve)).then(attached);
    attached();
    return undefined;
  }

  detachGroup({ id }: IommuGroup): void {
    this.#diary.entries.push(`detach ${id}`);
  }

  release(): void {
    this.#diary.entries.push('release');
  }

  containerClosed(): void {
    this.#diary.entries.push('container closed');
  }

  ioctl(nr: number): number {
    this.#diary.entries.push(`ioctl ${nr.toString(16)}`);
    return 0;
  }

  checkExtension(extension: number): number {
    this.#diary.entries.push(`check ${extension}`);
    return 1;
  }
}

class CountingDevice implements VfioDevice {
  readonly name: string;
  openCount = 0;

  constructor(name: string) {
    this.name = name;
  }

  open(released: () => void): FileOperations {
    this.openCount++;
    return {
      name: this.name,
      ioctl: () => 0,
      release: () => {
        this.openCount--;
        released();
      },
    };
  }
}

/** A process: a fd table, and system calls that give the return value or '-ERRNO'. */
class Process {
  readonly #vfio: Vfio;
  readonly #fds = new Map<number, OpenFile>();
  #next = 3;

  constructor(vfio: Vfio) {
    this.#vfio = vfio;
  }

  #add(file: OpenFile): number {
    this.#fds.set(this.#next, file);
    return this.#next++;
  }

  open(path: string): number {
    return this.#add(new OpenFile(this.#vfio.open(path, true)));
  }

  dup(fd: number): number {
    return this.#add(this.#fds.get(fd)!.get());
  }

  close(fd: number): void {
    const file = this.#fds.get(fd)!;
    this.#fds.delete(fd);
    file.put();
  }

  async ioctl(fd: number, nr: number, arg: number | bigint | Uint8Array = 0): Promise<number | string> {
    const file = this.#fds.get(fd)!.get();
    let installed: FileOperations | undefined;
    const caller: Caller = {
      task: {} as Task,
      thisFile: file,
      file: (other) => {
        if (other === 0) return undefined; // a tty, say
        const found = this.#fds.get(other);
        if (!found) throw ebadf(`${other}`);
        return found;
      },
      eventfd: (other) => other,
      eventfdToWatch: (other) => ({ fd: other, again: () => undefined }),
      install: (operations) => {
        installed = operations;
      },
    };
    try {
      const ret = await file.operations.ioctl(nr, new UserArg(arg), caller);
      return installed ? this.#add(new OpenFile(installed)) : ret;
    } catch (error) {
      return `-${(error as SysError).code}`;
    } finally {
      file.put();
    }
  }

  setContainer(group: number, container: number): Promise<number | string> {
    return this.ioctl(group, VFIO_GROUP_SET_CONTAINER, new Uint8Array(new Int32Array([container]).buffer));
  }

  device(group: number, name: string): Promise<number | string> {
    return this.ioctl(group, VFIO_GROUP_GET_DEVICE_FD, new Uint8Array(Buffer.from(`${name}\0`)));
  }

  async status(group: number): Promise<number> {
    const arg = GroupStatus.bytes({ argsz: 8 });
    const file = this.#fds.get(group)!;
    const user = new UserArg(arg);
    await file.operations.ioctl(VFIO_GROUP_GET_STATUS, user, {} as Caller);
    return GroupStatus.read(new DataView(user.output()!.slice().buffer)).flags;
  }
}

const VIABLE = 1;
const IN_CONTAINER = 2;
const iommuDevice = {} as IommuDevice;

let diary: Diary;
let vfio: Vfio;
let gone: number;
let process: Process;

function boot(profile: ProfileName): void {
  diary = new Diary();
  gone = 0;
  const devices = [0, 1, 2].map((id) => ({
    device: new CountingDevice(`0000:00:0${id + 2}.0`),
    iommuGroup: { id, iommuDevice, dids: [8 * (id + 2)] },
  }));
  vfio = new Vfio({
    profile: profileOf(profile),
    type1: diary,
    devices: devices as never,
    onContainerGone: () => gone++,
  });
  process = new Process(vfio);
}

beforeEach(() => boot('6.12'));

/** A container with driver and group 0 in it. */
async function ready(): Promise<{ container: number; group: number }> {
  const container = process.open('/dev/vfio/vfio');
  const group = process.open('/dev/vfio/0');
  expect(await process.setContainer(group, container)).toBe(0);
  expect(await process.ioctl(container, VFIO_SET_IOMMU, 3)).toBe(0);
  diary.entries.length = 0;
  return { container, group };
}

describe('nodes', () => {
  it.each([['/dev/vfio/3'], ['/dev/vfio/00'], ['/dev/vfio/'], ['/dev/vfio'], ['/dev/null'], ['vfio'], ['']])(
    'there is no %o: ENOENT',
    (path) => {
      expect(() => vfio.open(path, true)).toThrow(expect.objectContaining({ code: 'ENOENT' }));
    },
  );

  it('group nodes belong to the host’s user, the container node to everybody', () => {
    expect(() => vfio.open('/dev/vfio/0', false)).toThrow(expect.objectContaining({ code: 'EACCES' }));
    expect(vfio.open('/dev/vfio/vfio', false).name).toBe('/dev/vfio/vfio');
  });
});

describe('container', () => {
  it('CORE-1: knows its API version; what it does not know is EINVAL without driver and the driver’s with one', async () => {
    const container = process.open('/dev/vfio/vfio');
    expect(await process.ioctl(container, VFIO_GET_API_VERSION)).toBe(0);
    expect(await process.ioctl(container, VFIO_IOMMU_MAP_DMA)).toBe('-EINVAL');
    expect(await process.ioctl(container, 0x3b67)).toBe('-EINVAL');

    const { container: withDriver } = await ready();

    expect(await process.ioctl(withDriver, 0x3b67)).toBe(0);
    expect(diary.entries).toEqual(['ioctl 3b67']);
  });

  it('CORE-2: CHECK_EXTENSION asks the loaded driver, and only its own once it has one', async () => {
    const { container } = await ready();
    const fresh = process.open('/dev/vfio/vfio');

    await process.ioctl(fresh, VFIO_CHECK_EXTENSION, 3);
    await process.ioctl(container, VFIO_CHECK_EXTENSION, 3);

    expect(diary.entries).toEqual(['check 3 without state', 'check 3']);
  });

  it('CORE-3: SET_IOMMU is EINVAL without a group, and a second time', async () => {
    const container = process.open('/dev/vfio/vfio');
    expect(await process.ioctl(container, VFIO_SET_IOMMU, 3)).toBe('-EINVAL');

    const second = await ready();

    expect(await process.ioctl(second.container, VFIO_SET_IOMMU, 3)).toBe('-EINVAL');
  });

  it.each([
    ['a type that no driver claims', 7, '-ENODEV'],
    ['an extension that is no type', 9, '-EINVAL'],
    ['a type only in its low half', 0x1_0000_0001n, '-ENODEV'],
  ])('CORE-3: SET_IOMMU of %s (%s) is %s', async (_, type, expected) => {
    const container = process.open('/dev/vfio/vfio');
    await process.setContainer(process.open('/dev/vfio/0'), container);

    expect(await process.ioctl(container, VFIO_SET_IOMMU, type)).toBe(expected);
    expect(await process.ioctl(container, VFIO_SET_IOMMU, 3)).toBe(0);
  });

  it('CORE-3: the first group that fails undoes those before it in reverse, and its errno wins', async () => {
    const container = process.open('/dev/vfio/vfio');
    for (const id of [0, 1, 2]) await process.setContainer(process.open(`/dev/vfio/${id}`), container);
    diary.failing.set(0, 'EPERM'); // the oldest, tried last
    diary.entries.length = 0;

    expect(await process.ioctl(container, VFIO_SET_IOMMU, 3)).toBe('-EPERM');

    const [, , ...rest] = diary.entries;
    expect(rest).toEqual(['attach 2', 'attach 1', 'detach 1', 'detach 2', 'release']);
    expect(await process.ioctl(container, VFIO_IOMMU_MAP_DMA)).toBe('-EINVAL');
  });

  it('CORE-9: closing its fd first drops nothing; the last group does', async () => {
    const { container, group } = await ready();

    process.close(container);
    expect(diary.entries).toEqual(['container closed']);
    expect(gone).toBe(0);

    process.close(group);
    expect(diary.entries).toEqual(['container closed', 'detach 0', 'release']);
    expect(gone).toBe(1);
  });

  it('CORE-10: without groups it has no driver, and may get a new one', async () => {
    const { container, group } = await ready();
    await process.ioctl(group, VFIO_GROUP_UNSET_CONTAINER);
    expect(await process.ioctl(container, VFIO_IOMMU_MAP_DMA)).toBe('-EINVAL');

    expect(await process.setContainer(group, container)).toBe(0);

    expect(await process.ioctl(container, VFIO_SET_IOMMU, 1)).toBe(0);
    expect(diary.entries).toEqual(['detach 0', 'release', 'check 1 without state', 'open 1', 'attach 0']);
  });

  it('CORE-13: a dup keeps it open', async () => {
    const { container } = await ready();
    const copy = process.dup(container);

    process.close(container);

    expect(diary.entries).toEqual([]);
    expect(await process.ioctl(copy, VFIO_IOMMU_MAP_DMA)).toBe(0);
  });

  it('CORE-12: a sleeping attach blocks CHECK_EXTENSION and SET_CONTAINER there, not the driver’s own ioctls', async () => {
    const { container } = await ready();
    diary.sleepOn.add(1);
    const attaching = process.setContainer(process.open('/dev/vfio/1'), container);
    await Promise.resolve();

    const check = process.ioctl(container, VFIO_CHECK_EXTENSION, 3);
    const other = process.setContainer(process.open('/dev/vfio/2'), container);
    expect(await process.ioctl(container, VFIO_IOMMU_MAP_DMA)).toBe(0);
    expect(diary.entries).toEqual(['ioctl 3b71']);

    diary.sleeping.get(1)!();

    expect(await Promise.all([attaching, check, other])).toEqual([0, 1, 0]);
    expect(diary.entries).toEqual(['ioctl 3b71', 'attach 1', 'check 3', 'attach 2']);
  });

  it('CORE-12, RACE-9: close of its only fd does not reach the driver while an attach sleeps', async () => {
    const { container } = await ready();
    diary.sleepOn.add(1);
    const attaching = process.setContainer(process.open('/dev/vfio/1'), container);
    await Promise.resolve();

    process.close(container);
    expect(diary.entries).toEqual([]);
    diary.sleeping.get(1)!();

    expect(await attaching).toBe(0);
    expect(diary.entries).toEqual(['attach 1', 'container closed']);
  });
});

describe('group', () => {
  it.each([
    ['6.12', '-EBADFD'],
    ['6.2', '-EBADFD'],
    ['5.12', '-EINVAL'],
  ] as const)('CORE-4: SET_CONTAINER in profile %s of a fd that is no container is %s', async (profile, expected) => {
    boot(profile);
    const group = process.open('/dev/vfio/0');

    expect(await process.setContainer(group, 0)).toBe(expected);
    expect(await process.setContainer(group, group)).toBe(expected);
    expect(await process.setContainer(group, 999)).toBe('-EBADF');
    expect(await process.ioctl(group, VFIO_GROUP_SET_CONTAINER, new Uint8Array(3))).toBe('-EFAULT');
  });

  it('CORE-4: in a container it is EINVAL, whatever the fd is, if it is open', async () => {
    const { container, group } = await ready();

    expect(await process.setContainer(group, container)).toBe('-EINVAL');
    expect(await process.setContainer(group, 0)).toBe('-EINVAL');
    expect(await process.setContainer(group, 999)).toBe('-EBADF');
  });

  it('CORE-4: joining a container with a driver attaches at once; a failure leaves it outside', async () => {
    const { container } = await ready();
    const group = process.open('/dev/vfio/1');
    diary.failing.set(1, 'EINVAL');

    expect(await process.setContainer(group, container)).toBe('-EINVAL');
    expect(await process.status(group)).toBe(VIABLE);
    diary.failing.clear();

    expect(await process.setContainer(group, container)).toBe(0);
    expect(diary.entries).toEqual(['attach 1']);
  });

  it('CORE-5: UNSET_CONTAINER is EINVAL outside, EBUSY with an open device', async () => {
    const { group } = await ready();
    const device = (await process.device(group, '0000:00:02.0')) as number;
    expect(await process.ioctl(group, VFIO_GROUP_UNSET_CONTAINER)).toBe('-EBUSY');

    process.close(device);

    expect(await process.ioctl(group, VFIO_GROUP_UNSET_CONTAINER)).toBe(0);
    expect(await process.ioctl(group, VFIO_GROUP_UNSET_CONTAINER)).toBe('-EINVAL');
  });

  it.each([['nosuch'], ['0000:00:02'], ['0000:00:02.0x'], ['0000:00:03.0'], ['']])(
    'CORE-6: device %o is ENODEV in every state',
    async (name) => {
      const outside = process.open('/dev/vfio/1');
      const { group } = await ready();

      expect(await process.device(group, name)).toBe('-ENODEV');
      expect(await process.device(outside, `${name}?`)).toBe('-ENODEV');
    },
  );

  it('CORE-6: a device fd needs a container with a driver', async () => {
    const container = process.open('/dev/vfio/vfio');
    const group = process.open('/dev/vfio/0');
    expect(await process.device(group, '0000:00:02.0')).toBe('-EINVAL');
    await process.setContainer(group, container);
    expect(await process.device(group, '0000:00:02.0')).toBe('-EINVAL');

    await process.ioctl(container, VFIO_SET_IOMMU, 3);

    expect(await process.device(group, '0000:00:02.0')).toBeTypeOf('number');
  });

  it.each([
    [new Uint8Array(Buffer.from('0000:00:02.0')), '-EFAULT'],
    [0, '-EFAULT'],
    [new Uint8Array(5000).fill(0x41), '-EINVAL'],
  ])('CORE-6: a name that is no C string is %s', async (arg, expected) => {
    const { group } = await ready();

    expect(await process.ioctl(group, VFIO_GROUP_GET_DEVICE_FD, arg as Uint8Array)).toBe(expected);
  });

  it('CORE-7: is open once, be it only by a dup or a device fd', async () => {
    const { group } = await ready();
    const copy = process.dup(group);
    const device = (await process.device(group, '0000:00:02.0')) as number;
    const isBusy = (): void =>
      expect(() => process.open('/dev/vfio/0')).toThrow(expect.objectContaining({ code: 'EBUSY' }));
    isBusy();
    process.close(group);
    isBusy();
    process.close(copy);
    isBusy();

    process.close(device);

    expect(await process.status(process.open('/dev/vfio/0'))).toBe(VIABLE);
  });

  it.each([
    [7, '-EINVAL'],
    [8, 0],
    [16, 0],
  ])('CORE-8: GET_STATUS with argsz %i is %s', async (argsz, expected) => {
    const group = process.open('/dev/vfio/0');

    expect(await process.ioctl(group, VFIO_GROUP_GET_STATUS, GroupStatus.bytes({ argsz }))).toBe(expected);
    expect(await process.ioctl(group, VFIO_GROUP_GET_STATUS, new Uint8Array(7))).toBe('-EFAULT');
  });

  it('CORE-8: says when it is in a container', async () => {
    const { group } = await ready();
    expect(await process.status(group)).toBe(VIABLE | IN_CONTAINER);

    await process.ioctl(group, VFIO_GROUP_UNSET_CONTAINER);

    expect(await process.status(group)).toBe(VIABLE);
  });

  it('CORE-9: stays in its container until its fd and all device fds are closed', async () => {
    const { group } = await ready();
    const first = (await process.device(group, '0000:00:02.0')) as number;
    const second = (await process.device(group, '0000:00:02.0')) as number;

    process.close(group);
    process.close(first);
    expect(diary.entries).toEqual([]);

    process.close(second);
    expect(diary.entries).toEqual(['detach 0', 'release']);
  });

  it('knows no other number: ENOTTY', async () => {
    const group = process.open('/dev/vfio/0');

    expect(await process.ioctl(group, VFIO_GET_API_VERSION)).toBe('-ENOTTY');
  });

  it('cannot be in two containers', async () => {
    const { group } = await ready();
    const other = process.open('/dev/vfio/vfio');

    expect(await process.setContainer(group, other)).toBe('-EINVAL');
  });
});
