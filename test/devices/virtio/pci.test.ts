import { beforeEach, describe, expect, it } from 'vitest';

import { VirtioDevice } from '../../../devices/virtio/device.ts';
import { readMmio, writeMmio } from '../../../devices/virtio/mmio.ts';
import { VirtioPci } from '../../../devices/virtio/pci.ts';
import { entropy } from '../../../devices/virtio/rng.ts';
import { DriverQueue, MEMORY_BASE, PlainMemory } from './driver.ts';

const SIZE = 8;
const DATA = 0x4000;
const ISR_AT = 0x1000;
const NOTIFY_AT = 0x3000;

let memory: PlainMemory;
let driver: DriverQueue;
let device: VirtioDevice;
let pci: VirtioPci;

beforeEach(() => {
  memory = new PlainMemory(0x10000);
  driver = new DriverQueue(memory, 0x1000, SIZE);
  device = new VirtioDevice(entropy(), memory, () => {});
  pci = new VirtioPci(device, 2);
});

/** docs/machine.md, "virtio". */
describe('a virtio device on PCI', () => {
  it('says what it is, and where its structures are', () => {
    const { config } = pci;
    expect([config.get(0, 4) >>> 0, config.get(8, 4) >>> 0, config.get(0x2c, 4) >>> 0]).toEqual([
      0x1044_1af4, 0x00ff_0001, 0x1100_1af4,
    ]);
    const found: number[][] = [];
    for (let at = config.get(0x34, 1); at !== 0; at = config.get(at + 1, 1)) {
      found.push([config.get(at, 1), config.get(at + 3, 1), config.get(at + 4, 1), config.get(at + 8, 4)]);
    }
    expect(found).toEqual([
      [9, 1, 4, 0x0000],
      [9, 3, 4, 0x1000],
      [9, 4, 4, 0x2000],
      [9, 2, 4, 0x3000],
      [9, 5, 0, 0],
      [0x11, 0, 1, 0x800 | 1],
    ]);
  });

  it('is brought up, notified and acknowledged as virtio 1.3 says', () => {
    const store = (at: number, size: number, value: number): void => pci.store(at, size, BigInt(value >>> 0));
    for (const status of [0, 1, 3]) store(0x14, 1, status);
    expect([pci.load(0x12, 2), pci.load(0x04, 4)]).toEqual([1n, 0x3000_0000n]);
    store(0x00, 4, 1);
    expect(pci.load(0x04, 4)).toBe(1n);
    store(0x08, 4, 1);
    store(0x0c, 4, 1);
    store(0x14, 1, 0xb);
    expect([pci.load(0x14, 1), pci.load(0x18, 2), pci.load(0x1e, 2)]).toEqual([0xbn, 8n, 0n]);
    pci.store(0x20, 8, BigInt(MEMORY_BASE + driver.desc));
    store(0x28, 4, MEMORY_BASE + driver.avail);
    store(0x30, 4, MEMORY_BASE + driver.used);
    store(0x1c, 2, 1);
    store(0x14, 1, 0xf);
    expect([pci.load(0x20, 4), pci.load(0x24, 4), pci.load(0x1c, 2)]).toEqual([
      BigInt(MEMORY_BASE + driver.desc),
      0n,
      1n,
    ]);
    driver.add([{ at: DATA, length: 64, writable: true }]);
    store(NOTIFY_AT, 2, 0);
    expect(driver.takeUsed()).toEqual([{ head: 0, written: 64 }]);
    expect(memory.bytes.slice(DATA, DATA + 64).some((byte) => byte !== 0)).toBe(true);
    expect([pci.load(ISR_AT, 1), pci.load(ISR_AT, 1)]).toEqual([1n, 0n]);
  });

  it('can be reached through configuration space, too', () => {
    const window = 0x84; // the last capability
    expect(pci.config.get(window + 3, 1)).toBe(5);
    pci.writeConfig(window + 4, 1, 4);
    pci.writeConfig(window + 8, 4, 0x14);
    pci.writeConfig(window + 12, 4, 1);
    pci.writeConfig(window + 16, 4, 3);
    expect([device.status, pci.readConfig(window + 16, 4)]).toEqual([3, 3]);
    pci.writeConfig(window + 8, 4, 0x15000);
    pci.writeConfig(window + 16, 4, 0);
    expect(device.status).toBe(3);
    // a write is as wide as the capability says, whatever its data held before
    pci.writeConfig(window + 12, 4, 4);
    pci.writeConfig(window + 8, 4, 0x08);
    pci.writeConfig(window + 16, 4, 0xffff_ffff);
    pci.writeConfig(window + 12, 4, 2);
    pci.writeConfig(window + 8, 4, 0x1c);
    pci.writeConfig(window + 16, 2, 1);
    expect(device.queues[0]!.ready).toBe(true);
  });
});

describe('a virtio device in a slot of virtio-mmio', () => {
  it('is brought up and notified', () => {
    const write = (at: number, value: number): void => writeMmio(device, at, value);
    expect([0, 4, 8, 0xc].map((at) => readMmio(device, at))).toEqual([0x7472_6976, 2, 4, 0x554d_4551]);
    write(0x070, 3);
    write(0x024, 1);
    write(0x020, 1);
    write(0x070, 0xb);
    expect([readMmio(device, 0x070), readMmio(device, 0x034)]).toEqual([0xb, 8]);
    write(0x038, 3); // no power of two
    expect(device.queues[0]!.size).toBe(8);
    write(0x080, MEMORY_BASE + driver.desc);
    write(0x090, MEMORY_BASE + driver.avail);
    write(0x0a0, MEMORY_BASE + driver.used);
    write(0x044, 1);
    write(0x070, 0xf);
    driver.add([{ at: DATA, length: 8, writable: true }]);
    write(0x050, 0);
    expect([readMmio(device, 0x060), driver.takeUsed()]).toEqual([1, [{ head: 0, written: 8 }]]);
    write(0x064, 1);
    expect(readMmio(device, 0x060)).toBe(0);
  });

  it('keeps addresses that no memory has apart from those that some has', () => {
    writeMmio(device, 0x084, 0xffff_ffff);
    expect(device.queues[0]!.desc).toBe(0xf_ffff * 2 ** 32);
  });

  it('is an empty slot without a device', () => {
    expect([0, 8, 0x34, 0x70].map((at) => readMmio(undefined, at))).toEqual([0x7472_6976, 0, 0, 0]);
    expect(() => writeMmio(undefined, 0x70, 1)).not.toThrow();
  });
});
