/** The ROM region (PCI-1, PCI-7, PCI-9, PCI-11), with edu of the kit behind it. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { device as edu } from '../../../../../devices/edu/device.ts';
import { RegionInfo, VFIO_DEVICE_GET_REGION_INFO } from '../../../../../iommu/abi/vfio.ts';
import { EndpointFunction } from '../../../../fakes/endpoint-function.ts';
import { FakeVfioDevice } from '../../../../fakes/fake-vfio-device.ts';

const ROM = 6;
const CONFIG = 7;
const COMMAND = 4;
const ADDRESS = 0x30;
const SIZE = 4096;

/** An image of 512 × `units` bytes that says whether it is the last one. Its bytes count up. */
function image(units: number, last: boolean): Uint8Array {
  const bytes = Uint8Array.from({ length: 512 * units }, (_, i) => i);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 0xaa55, true);
  view.setUint16(24, 0x40, true);
  view.setUint32(0x40, 0x5249_4350, true);
  view.setUint16(0x40 + 16, units, true);
  view.setUint8(0x40 + 21, last ? 0x80 : 0);
  return bytes;
}

function romOf(...images: readonly Uint8Array[]): Uint8Array {
  const rom = new Uint8Array(SIZE).fill(0x77);
  images.reduce((at, bytes) => {
    rom.set(bytes, at);
    return at + bytes.length;
  }, 0);
  return rom;
}

let pci: EndpointFunction;
let fake: FakeVfioDevice;

function build(rom: Uint8Array | undefined): void {
  pci = new EndpointFunction(edu, {}, rom);
  fake = new FakeVfioDevice(pci);
}

async function region(): Promise<readonly [bigint, number]> {
  const arg = RegionInfo.bytes({ argsz: RegionInfo.size, index: ROM });
  expect(await fake.ioctl(VFIO_DEVICE_GET_REGION_INFO, arg)).toBe(0);
  const { size, flags } = RegionInfo.read(new DataView(arg.buffer));
  return [size, flags];
}

beforeEach(() => build(romOf(image(1, false), image(2, true))));
afterEach(() => fake.close());

describe('PCI-1: the region', () => {
  it.each([
    ['with images', romOf(image(1, true)), [BigInt(SIZE), 1]],
    ['without signature', new Uint8Array(SIZE).fill(0x77), [0n, 0]],
    ['without ROM', undefined, [0n, 0]],
  ] as const)('of a function %s', async (_, rom, expected) => {
    build(rom);
    expect(await region()).toEqual(expected);
  });

  it('is looked at with memory decoding on, whatever the user’s COMMAND says', async () => {
    fake.write(CONFIG, COMMAND, '0000');
    expect(await region()).toEqual([BigInt(SIZE), 1]);
    expect(pci.readConfig(COMMAND, 2) & 2).toBe(0);
    expect(pci.readConfig(ADDRESS, 4)).toBe(0xc020_0000);
  });
});

describe('PCI-11: reading', () => {
  it('gives the images, and ones behind the last one', () => {
    expect(fake.read(ROM, 0, 2)).toBe('55aa');
    expect(fake.read(ROM, 0x2ff, 3)).toBe('ff0001'); // of the second image
    expect(fake.read(ROM, 0x5fe, 4)).toBe('feffffff');
    expect(fake.read(ROM, 0x5fd, 3)).toBe('fdfeff');
  });

  it('is cut off at the end, and EINVAL there; writing is EINVAL', () => {
    expect(fake.read(ROM, SIZE - 2, 8)).toBe('ffff');
    expect([fake.read(ROM, SIZE, 1), fake.write(ROM, 0, '00')]).toEqual(['-EINVAL', '-EINVAL']);
  });

  it('is ENOMEM without image, EINVAL without ROM, EIO without memory decoding (PCI-7)', () => {
    fake.write(CONFIG, COMMAND, '0000');
    expect(fake.read(ROM, 0, 4)).toBe('-EIO');
    build(new Uint8Array(SIZE));
    expect(fake.read(ROM, 0, 4)).toBe('-ENOMEM');
    build(undefined);
    expect(fake.read(ROM, 0, 4)).toBe('-EINVAL');
  });

  it('leaves the ROM not decoding', () => {
    fake.read(ROM, 0, 4);
    expect(pci.readConfig(ADDRESS, 4)).toBe(0xc020_0000);
    expect(pci.readBar(ROM, 0, 4).lo).toBe(0xffff_ffff);
  });
});

describe('what sysfs shows of it', () => {
  it('is its images alone, whatever COMMAND says, a piece at a time', () => {
    const hex = (offset: number): string => Buffer.from(fake.device.romImages(offset)).toString('hex');
    fake.write(CONFIG, COMMAND, '0000');
    expect(hex(0)).toBe(Buffer.concat([image(1, false), image(2, true)]).toString('hex'));
    expect([hex(0x5fe), hex(0x600), hex(SIZE)]).toEqual(['feff', '', '']);
    expect(pci.readConfig(COMMAND, 2) & 2).toBe(0);
    build(romOf(new Uint8Array(0)));
    expect(hex(0)).toBe('');
  });

  it('is where firmware has put it; ENODEV without ROM', () => {
    expect(fake.device.facts().rom).toEqual({ start: 0xc020_0000, size: SIZE });
    build(undefined);
    expect(fake.device.facts().rom).toBeNull();
    expect(() => fake.device.romImages(0)).toThrow(expect.objectContaining({ code: 'ENODEV' }));
  });
});

describe('PCI-9: its address register', () => {
  it('is the user’s own: sized by ones, with its enable bit', () => {
    fake.write(CONFIG, ADDRESS, 'ffffffff');
    expect(fake.read(CONFIG, ADDRESS, 4)).toBe('01f0ffff');
    expect(pci.readConfig(ADDRESS, 4)).toBe(0xc020_0000);
  });

  it('reads 0 where there is no ROM', () => {
    build(undefined);
    fake.write(CONFIG, ADDRESS, 'ffffffff');
    expect(fake.read(CONFIG, ADDRESS, 4)).toBe('00000000');
  });
});
