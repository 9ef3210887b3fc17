import { beforeEach, describe, expect, it } from 'vitest';
import { interruptTarget } from '../../../../vmm/machine/hart-local/interrupt-target.ts';
import { SystemBus } from '../../../../vmm/machine/shared/bus.ts';
import {
  PassthroughFunction,
  type PassthroughState,
  probeFunction,
} from '../../../../vmm/machine/shared/passthrough.ts';
import { PciHost } from '../../../../vmm/machine/shared/pci-host.ts';
import { PCI_SECTION } from '../../../../vmm/machine/shared/shared-machine.ts';
import { FakeDeviceAccess } from '../../../fakes/fake-device-access.ts';

const ECAM = 0x3000_0000;
const SLOT1 = ECAM + (1 << 15);
const SETEIPNUM = 0x2400_0000;
const EVENTFD = 77;
const ROM_BYTES = 8192;

let device: FakeDeviceAccess;
let identities: number[];
let bus: SystemBus;
let fn: PassthroughFunction;
let host: PciHost;

const router = {
  eventfd: () => EVENTFD,
  setIdentity: (route: number, identity: number) => {
    identities[route] = identity;
  },
};

function plugIn(state: PassthroughState): void {
  fn = new PassthroughFunction(device, router);
  fn.restore(state);
  host = new PciHost();
  host.add(fn);
  bus = new SystemBus();
  host.mapInto(bus);
}

beforeEach(() => {
  device = new FakeDeviceAccess();
  identities = [];
  const barSizes = [4096, 0, 0, 0, 0, 0];
  plugIn(probeFunction(device, { bdf: '0000:00:02.0', configSize: 256, barSizes, romSize: ROM_BYTES, routes: [0] }));
});

const read = (gpa: number, size: 1 | 2 | 4 = 4): number => Number(bus.load(gpa, size));
const write = (gpa: number, value: number, size: 1 | 2 | 4 = 4): boolean => bus.store(gpa, size, BigInt(value), 0);

/** What a guest's driver does; gpa 0x4000_0000 is in the 32-bit window. */
function enable(): void {
  write(SLOT1 + 0x10, 0x4000_0000);
  write(SLOT1 + 0x04, 0x6, 2);
}

function programMsi(identity: number): void {
  write(SLOT1 + 0x44, SETEIPNUM);
  write(SLOT1 + 0x48, 0);
  write(SLOT1 + 0x4c, identity);
  write(SLOT1 + 0x42, 1, 2);
}

/** docs/machine.md, "PCI host", recorded in virt-platform.qtest. */
describe('ECAM', () => {
  it('shows the host bridge in slot 0 and all ones for absent functions', () => {
    expect(read(ECAM)).toBe(0x0008_1b36);
    expect(read(ECAM + 8)).toBe(0x0600_0000);
    expect(read(ECAM + (2 << 15))).toBe(0xffff_ffff);
    expect(read(ECAM + (1 << 20))).toBe(0xffff_ffff);
    expect(read(SLOT1 + (1 << 12))).toBe(0xffff_ffff);
  });

  it('takes bytes, words and dwords, and has nothing beyond a conventional config space', () => {
    expect(read(SLOT1)).toBe(0x11e8_1234);
    expect(read(SLOT1, 1)).toBe(0x34);
    expect(read(SLOT1 + 2, 2)).toBe(0x11e8);
    expect(read(SLOT1 + 0x100)).toBe(0xffff_ffff);
  });
});

describe('BARs', () => {
  it('are sized by writing ones, and keep the address they are given', () => {
    write(SLOT1 + 0x10, 0xffff_ffff);
    expect(read(SLOT1 + 0x10)).toBe(0xffff_f000);
    write(SLOT1 + 0x14, 0xffff_ffff);
    expect(read(SLOT1 + 0x14)).toBe(0);
    write(SLOT1 + 0x10, 0x4012_3456);
    expect(read(SLOT1 + 0x10)).toBe(0x4012_3000);
    expect(device.calls).toEqual([]);
  });

  it('reach the device while memory decoding is on, and all ones otherwise', () => {
    device.bar.set([1, 2, 3, 4, 5, 6, 7, 8], 0x10);
    write(SLOT1 + 0x10, 0x4000_0000);
    expect(read(0x4000_0010)).toBe(0xffff_ffff);
    enable();
    expect(device.calls).toEqual(['config 4=0600']);
    expect(read(0x4000_0010)).toBe(0x0403_0201);
    expect(bus.load(0x4000_0010, 8)).toBe(0x0807_0605_0403_0201n);
    write(0x4000_0018, 0xaabb_ccdd);
    expect([...device.bar.subarray(0x18, 0x1c)]).toEqual([0xdd, 0xcc, 0xbb, 0xaa]);
    expect(read(0x4000_1000)).toBe(0xffff_ffff);
    write(SLOT1 + 0x04, 0, 2);
    expect(read(0x4000_0010)).toBe(0xffff_ffff);
  });

  it('read all ones where the kernel refuses the access (PCI-7: EIO)', () => {
    enable();
    device.config[4] = 0; // a device reset behind our back
    expect(read(0x4000_0010)).toBe(0xffff_ffff);
  });
});

/** PCI 3.0 §6.2.5.2 */
describe('the expansion ROM', () => {
  const ROM = 0x4010_0000;
  const place = (): void => {
    write(SLOT1 + 0x30, ROM | 1);
    enable();
    device.calls.length = 0;
  };

  it('is sized by writing ones, and keeps its address and its enable bit', () => {
    write(SLOT1 + 0x30, 0xffff_ffff);
    expect(read(SLOT1 + 0x30)).toBe(0xffff_e001);
    write(SLOT1 + 0x32, 0x4010, 2);
    expect(read(SLOT1 + 0x30)).toBe(0x4010_e001);
    expect(device.calls).toEqual([]);
  });

  it('reads as the device says, each page of it asked for once; a store is dropped', () => {
    place();
    write(ROM + 8, 0);
    expect([read(ROM + 8), read(ROM + 0xffe, 2), read(ROM + 0x1003, 1)]).toEqual([0x0b0a_0908, 0xf0f1, 0x13]);
    expect(bus.load(ROM, 8)).toBe(0x0706_0504_0302_0100n);
    expect(device.calls).toEqual(['rom 0', 'rom 1000']);
  });

  it('answers while it is enabled and memory decoding is on', () => {
    place();
    write(SLOT1 + 4, 0, 2);
    expect(read(ROM)).toBe(0xffff_ffff);
    enable();
    write(SLOT1 + 0x30, ROM);
    expect(read(ROM)).toBe(0xffff_ffff);
  });

  it('is where it was after an update, and nowhere after a reset', () => {
    place();
    plugIn(fn.save());
    expect(read(ROM + 4)).toBe(0x0706_0504);
    fn.reset();
    expect([read(SLOT1 + 0x30), read(ROM + 4)]).toEqual([0, 0xffff_ffff]);
  });

  it('is not known to version 2, and a state with one cannot be written so', () => {
    const { rom, ...state } = fn.save();
    const old = { version: 2, functions: [{ ...state, version: 2 }] };
    const now = PCI_SECTION.decode(old);
    expect(now.functions).toEqual([{ ...state, rom: null }]);
    expect(PCI_SECTION.encode(now, 2)).toEqual(old);
    expect(() => PCI_SECTION.encode(PCI_SECTION.of({ functions: [{ ...state, rom }] }), 2)).toThrow('has a ROM');
  });
});

describe('a device that is gone', () => {
  it('answers nowhere, and is asked for nothing', () => {
    enable();
    programMsi(9);
    device.calls.length = 0;
    device.gone = true;
    write(SLOT1 + 4, 0, 2);
    write(0x4000_0010, 1);
    host.reset();
    expect([read(SLOT1), read(SLOT1 + 0x10), read(SLOT1 + 0x42, 2), read(0x4000_0010)]).toEqual([
      ...[0xffff_ffff, 0xffff_ffff, 0xffff, 0xffff_ffff],
    ]);
    expect(device.calls).toEqual([]);
  });
});

/** PCI 3.0 §6.8.1; PCI-9: the real capability is driven by SET_IRQS only. */
describe('MSI', () => {
  it('is armed when the guest enables it, and leads to the identity it wrote', () => {
    programMsi(9);
    expect(device.calls).toEqual([`arm ${EVENTFD}`]);
    expect(identities).toEqual([9]);
    expect(read(SLOT1 + 0x40)).toBe(0x0081_0005);
    expect(read(SLOT1 + 0x44)).toBe(SETEIPNUM);
  });

  it('follows a rewritten message without another SET_IRQS', () => {
    programMsi(9);
    write(SLOT1 + 0x4c, 12, 2);
    expect(identities).toEqual([12]);
    expect(device.calls).toEqual([`arm ${EVENTFD}`]);
  });

  it('is disarmed when the guest disables it, and armed again', () => {
    programMsi(9);
    write(SLOT1 + 0x42, 0, 2);
    expect(identities).toEqual([0]);
    write(SLOT1 + 0x42, 1, 2);
    expect(device.calls).toEqual([`arm ${EVENTFD}`, 'disarm', `arm ${EVENTFD}`]);
  });

  it.each([
    ['machine', SETEIPNUM + 0x3000],
    ['supervisor', 0x2800_3000],
  ] as const)('leads to the interrupt file whose page the message names: of %s level', (level, gpa) => {
    programMsi(9);
    write(SLOT1 + 0x44, gpa);
    expect(identities).toEqual([interruptTarget(3, 9, level)]);
  });

  it('goes nowhere when the message is not for an IMSIC', () => {
    programMsi(9);
    write(SLOT1 + 0x44, 0x8000_0000);
    expect(identities).toEqual([0]);
    write(SLOT1 + 0x44, SETEIPNUM + 4);
    expect(identities).toEqual([0]);
  });

  it('cannot be changed where it is read-only', () => {
    write(SLOT1 + 0x40, 0xffff_ffff);
    expect(read(SLOT1 + 0x40)).toBe(0x00f1_0005);
    write(SLOT1 + 0x40, 0);
    expect(read(SLOT1 + 0x40)).toBe(0x0080_0005);
  });
});

describe('a passed-through function', () => {
  it('starts with nothing decoded, no bus master and no MSI after a reset', () => {
    enable();
    programMsi(9);
    device.calls.length = 0;
    fn.reset();
    expect(device.calls).toEqual(['disarm', 'config 4=0000', 'reset']);
    expect(identities).toEqual([0]);
    expect(read(SLOT1 + 0x10)).toBe(0);
    expect(read(0x4000_0010)).toBe(0xffff_ffff);
  });

  it('goes on from a saved state without touching the device', () => {
    enable();
    programMsi(9);
    const state = structuredClone(fn.save());
    device.calls.length = 0;
    plugIn(state);
    expect(device.calls).toEqual([]);
    expect(read(SLOT1 + 0x10)).toBe(0x4000_0000);
    expect(read(SLOT1 + 0x40)).toBe(0x0081_0005);
    device.bar[0] = 0xab;
    expect(read(0x4000_0000, 1)).toBe(0xab);
    write(SLOT1 + 0x42, 0, 2);
    expect(device.calls).toEqual(['disarm']);
  });

  it('places a 64-bit BAR in the high window', () => {
    const layout = [
      { size: 2 ** 14, flags: 0xc },
      { size: 0, flags: 0 },
      ...Array.from({ length: 4 }, () => ({ size: 0, flags: 0 })),
    ];
    plugIn({ ...fn.save(), layout, bars: [] });
    write(SLOT1 + 0x10, 0xffff_ffff);
    write(SLOT1 + 0x14, 0xffff_ffff);
    expect([read(SLOT1 + 0x10), read(SLOT1 + 0x14)]).toEqual([0xffff_c00c, 0xffff_ffff]);
    write(SLOT1 + 0x10, 0x1000_0000);
    write(SLOT1 + 0x14, 5);
    write(SLOT1 + 0x04, 2, 2);
    device.bar[4] = 0x5a;
    expect(read(0x5_1000_0004, 1)).toBe(0x5a);
  });
});
