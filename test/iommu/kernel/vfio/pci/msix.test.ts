/** MSI-X of vfio-pci (PCI-12), with edu of the kit behind it: raising bit n sends vector n. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { device as edu } from '../../../../../devices/edu/device.ts';
import { REG } from '../../../../../devices/edu/regs.ts';
import {
  IrqInfo,
  RegionInfo,
  VFIO_DEVICE_GET_IRQ_INFO,
  VFIO_DEVICE_GET_REGION_INFO,
  VFIO_DEVICE_RESET,
} from '../../../../../iommu/abi/vfio.ts';
import { EFD_CLOEXEC, EFD_NONBLOCK, eventfd, eventfdRead } from '../../../../../platform/libc/eventfd.ts';
import { close } from '../../../../../platform/libc/fd.ts';
import { EndpointFunction } from '../../../../fakes/endpoint-function.ts';
import { FakeVfioDevice, NOT_AN_EVENTFD, NOT_OPEN } from '../../../../fakes/fake-vfio-device.ts';

const INTX = 0;
const MSI = 1;
const MSIX = 2;
const NONE = 1;
const EVENTFD = 4;
const TRIGGER = 0x20;
const MASK = 8;
const CONFIG = 7;
const COMMAND = 4;
const CAP = 0x50;
const VECTORS = 4;
const PBA = 0x800;

let pci: EndpointFunction;
let fake: FakeVfioDevice;
let events: number[];

function build(profile: '5.12' | '6.2' | '6.12' | '7.2' = '6.12'): void {
  pci = new EndpointFunction(edu, { msix: String(VECTORS), flr: 'on' });
  fake = new FakeVfioDevice(pci, profile);
  pci.ring = (number) => fake.doorbells.ring(number);
  fake.write(CONFIG, COMMAND, '0600');
}

beforeEach(() => {
  build();
  events = Array.from({ length: VECTORS }, () => eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
});

afterEach(() => {
  fake.close();
  for (const fd of events) close(fd);
});

const counts = (): number[] => events.map((fd) => eventfdRead(fd));
const raise = (...vectors: number[]): void => {
  for (const vector of vectors) pci.writeBar(0, REG.IRQ_RAISE, 4, { lo: 2 ** vector, hi: 0 });
};
const entry = (vector: number): number[] => [0, 4, 8, 12].map((at) => pci.readBar(1, 16 * vector + at, 4).lo);
const pending = (): number => pci.readBar(1, PBA, 4).lo;
const control = (): number => pci.readConfig(CAP + 2, 2);
const arm = (start: number, ...data: number[]): Promise<number | string> =>
  fake.setIrqs(MSIX, EVENTFD | TRIGGER, { start, data });
const disable = (): Promise<number | string> => fake.setIrqs(MSIX, NONE | TRIGGER, { count: 0 });

describe('what there is', () => {
  it.each([
    ['5.12', 9],
    ['6.2', 9],
    ['6.12', 1],
    ['7.2', 1],
  ] as const)('%s: the table can be resized unless NORESIZE says no: flags %i', async (profile, flags) => {
    build(profile);
    const arg = IrqInfo.bytes({ argsz: IrqInfo.size, index: MSIX });
    expect(await fake.ioctl(VFIO_DEVICE_GET_IRQ_INFO, arg)).toBe(0);
    expect(IrqInfo.read(new DataView(arg.buffer))).toMatchObject({ flags, count: VECTORS });
  });

  it('PCI-1: the BAR of the table can be mapped, and a capability says so', async () => {
    const arg = RegionInfo.bytes({ argsz: 40, index: 1 }, 40);
    expect(await fake.ioctl(VFIO_DEVICE_GET_REGION_INFO, arg)).toBe(0);
    expect(RegionInfo.read(new DataView(arg.buffer))).toMatchObject({ argsz: 40, flags: 15, cap_offset: 32 });
    expect([...arg.subarray(32)]).toEqual([3, 0, 1, 0, 0, 0, 0, 0]);
  });

  it('PCI-1: without room for the capability argsz says how much it needs', async () => {
    const arg = RegionInfo.bytes({ argsz: 39, index: 1, cap_offset: 7 }, 40);
    expect(await fake.ioctl(VFIO_DEVICE_GET_REGION_INFO, arg)).toBe(0);
    expect(RegionInfo.read(new DataView(arg.buffer))).toMatchObject({ argsz: 40, flags: 15, cap_offset: 0 });
    expect([...arg.subarray(32)]).toEqual(Array(8).fill(0));
  });

  it('PCI-1: another BAR has no capability', async () => {
    const arg = RegionInfo.bytes({ argsz: 40, index: 0, cap_offset: 7 }, 40);
    await fake.ioctl(VFIO_DEVICE_GET_REGION_INFO, arg);
    expect(RegionInfo.read(new DataView(arg.buffer))).toMatchObject({ argsz: 40, flags: 7, cap_offset: 7 });
  });

  it('PCI-11: reads of the table give ones and writes are dropped; the pending bits can be read', async () => {
    expect([fake.read(1, 0, 4), fake.read(1, 0x40, 4), fake.read(1, PBA, 4)]).toEqual([
      ...['ffffffff', '00000000', '00000000'],
    ]);
    fake.write(1, 0, '78563412');
    expect(entry(0)[0]).toBe(0);
  });

  it('PCI-9: only SET_IRQS enables it: writes of the control register are dropped', () => {
    fake.write(CONFIG, CAP + 2, '00c0');
    expect(control()).toBe(VECTORS - 1);
  });
});

describe('PCI-12: SET_IRQS', () => {
  it('gives each vector a message of its own, and masks those without eventfd', async () => {
    expect(await arm(0, events[0]!, -1, events[2]!)).toBe(0);

    expect(control()).toBe(0x8000 | (VECTORS - 1));
    expect([0, 1, 2, 3].map(entry)).toEqual([
      [0xfee0_0000, 0, 0, 0],
      [0xfee0_0000, 0, 1, 1],
      [0xfee0_0000, 0, 2, 0],
      [0, 0, 0, 1],
    ]);
    raise(0, 1, 2, 2);
    expect(counts()).toEqual([1, 0, 2, 0]);
    expect([...pci.pages]).toEqual([0xfee00]);
    expect(fake.device.info(4)).toMatchObject({ interruptsRaised: 3, interruptsDropped: 0 });
  });

  it.each([
    ['a vector there is not', () => arm(VECTORS, -1), '-EINVAL'],
    ['more than there are', () => arm(2, -1, -1, -1), '-EINVAL'],
    ['MASK', () => fake.setIrqs(MSIX, NONE | MASK, { count: 1 }), '-ENOTTY'],
    ['none of them', () => arm(0), '-ERANGE'],
    ['disabling what is not enabled', disable, '-EINVAL'],
    ['raising what is not enabled', () => fake.setIrqs(MSIX, NONE | TRIGGER, { count: 1 }), '-EINVAL'],
    ['a fd that is not open', () => arm(0, NOT_OPEN), '-EBADF'],
    ['a fd of another kind', () => arm(0, NOT_AN_EVENTFD), '-EINVAL'],
  ])('refuses %s', async (_, call, expected) => {
    expect(await call()).toBe(expected);
    expect([control(), fake.doorbell.users]).toEqual([VECTORS - 1, 0]);
    expect(fake.vectors.allocate(64)).toBe(0);
  });

  it.each([
    [INTX, MSIX],
    [MSI, MSIX],
    [MSIX, MSI],
    [MSIX, INTX],
  ])('while index %i is enabled, index %i is EINVAL', async (first, second) => {
    expect(await fake.setIrqs(first, EVENTFD | TRIGGER, { data: [events[0]!] })).toBe(0);
    expect(await fake.setIrqs(second, EVENTFD | TRIGGER, { data: [events[1]!] })).toBe('-EINVAL');
    expect(await fake.setIrqs(second, NONE | TRIGGER, { count: 0 })).toBe('-EINVAL');
  });

  it('a vector that has lost its eventfd is masked: its message pends, and comes with the next eventfd', async () => {
    await arm(0, events[0]!, events[1]!);
    await arm(1, -1);
    raise(1, 1);
    const between = { counts: counts(), pending: pending(), mask: entry(1)[3] };
    await arm(1, events[2]!);

    expect(between).toEqual({ counts: [0, 0, 0, 0], pending: 2, mask: 1 });
    expect({ counts: counts(), pending: pending() }).toEqual({ counts: [0, 0, 1, 0], pending: 0 });
  });

  it('after a bad fd in a block, that vector and those before it are masked', async () => {
    await arm(0, events[0]!, events[1]!, events[2]!);
    expect(await arm(0, events[3]!, NOT_OPEN)).toBe('-EBADF');
    expect([0, 1, 2].map((vector) => entry(vector)[3])).toEqual([1, 1, 0]);
    raise(0, 1, 2);
    expect(counts()).toEqual([0, 0, 1, 0]);
  });

  it('when it is disabled, no address stays in the table, and numbers and doorbell go back', async () => {
    await arm(0, events[0]!, events[1]!);
    await disable();
    raise(0);
    expect([control(), ...entry(0), fake.doorbell.users]).toEqual([VECTORS - 1, 0, 0, 0, 1, 0]);
    expect(counts()).toEqual([0, 0, 0, 0]);
    expect(fake.vectors.allocate(64)).toBe(0);
  });

  it('works while the user’s COMMAND has memory decoding off, and leaves it off', async () => {
    fake.write(CONFIG, COMMAND, '0400');
    expect(await arm(0, events[0]!)).toBe(0);
    expect(await disable()).toBe(0);
    expect(await arm(0, events[0]!)).toBe(0);
    expect(pci.readConfig(COMMAND, 2) & 2).toBe(0);
    fake.write(CONFIG, COMMAND, '0600');
    raise(0);
    expect(counts()).toEqual([1, 0, 0, 0]);
  });

  it('is taken down by the last close', async () => {
    await arm(0, events[0]!);
    fake.reopen();
    expect([control(), entry(0), fake.doorbell.users]).toEqual([VECTORS - 1, [0, 0, 0, 1], 0]);
  });

  it('PCI-6: a reset leaves it as it was', async () => {
    await arm(0, events[0]!, -1, events[2]!);
    const before = [control(), ...[0, 1, 2, 3].map(entry)];
    expect(await fake.ioctl(VFIO_DEVICE_RESET, 0)).toBe(0);
    expect([control(), ...[0, 1, 2, 3].map(entry)]).toEqual(before);
    fake.write(CONFIG, COMMAND, '0600');
    raise(2);
    expect(counts()).toEqual([0, 0, 1, 0]);
  });
});

describe('PCI-12: vectors beyond those that are enabled', () => {
  it.each(['6.12', '7.2'] as const)('are added on %s, one by one, in any order', async (profile) => {
    build(profile);
    await arm(0, events[0]!);
    expect(await arm(3, events[3]!)).toBe(0);
    expect(await fake.setIrqs(MSIX, NONE | TRIGGER, { start: 0, count: 4 })).toBe(0);
    expect(await arm(1, -1, -1)).toBe(0);
    raise(3, 2);

    expect(counts()).toEqual([1, 0, 0, 2]);
    expect([1, 2].map(entry)).toEqual([
      [0, 0, 0, 1],
      [0, 0, 0, 1],
    ]);
    await disable();
    expect(fake.vectors.allocate(64)).toBe(0);
  });

  it('are added before the eventfd is looked at, and stay (vfio_msi_alloc_irq)', async () => {
    await arm(0, events[0]!);
    expect(await arm(2, NOT_OPEN)).toBe('-EBADF');
    expect(entry(2)).toEqual([0xfee0_0000, 0, 1, 1]);
  });

  it.each(['5.12', '6.2'] as const)('are EINVAL on %s', async (profile) => {
    build(profile);
    await arm(0, events[0]!);
    expect(await arm(1, events[1]!)).toBe('-EINVAL');
    expect(await arm(1, -1)).toBe('-EINVAL');
    expect(await fake.setIrqs(MSIX, NONE | TRIGGER, { start: 1, count: 1 })).toBe('-EINVAL');
  });
});
