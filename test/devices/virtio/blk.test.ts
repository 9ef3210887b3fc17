import { beforeEach, describe, expect, it } from 'vitest';

import { block, type Disk, SECTOR } from '../../../devices/virtio/blk.ts';
import { ISR_CONFIG, ISR_QUEUE, VirtioDevice } from '../../../devices/virtio/device.ts';
import { bringUp, DRIVER_OK, DriverQueue, FEATURES_OK, PlainMemory } from './driver.ts';

const SECTORS = 1024;
const SIZE = 16;
const HEADER = 0x4000;
const STATUS = 0x4100;
const DATA = 0x8000;
const [T_IN, T_OUT, T_FLUSH, T_GET_ID, T_DISCARD] = [0, 1, 4, 8, 11];

class MemoryDisk implements Disk {
  readonly bytes = new Uint8Array(SECTORS * SECTOR);
  readonly size = this.bytes.length;
  readOnly = false;
  writeback = true;
  readonly serial = 'serial of this disk: too long';
  readonly buffer = new Uint8Array(2 * SECTOR);
  flushes = 0;
  fails = false;

  read(at: number, into: Uint8Array): void {
    if (this.fails) throw Object.assign(new Error('EIO'), { code: 'EIO' });
    into.set(this.bytes.subarray(at, at + into.length));
  }

  write(at: number, bytes: Uint8Array): void {
    if (this.fails) throw Object.assign(new Error('EIO'), { code: 'EIO' });
    this.bytes.set(bytes, at);
  }

  flush(): void {
    this.flushes++;
  }
}

let disk: MemoryDisk;
let memory: PlainMemory;
let driver: DriverQueue;
let device: VirtioDevice;
let up: boolean;

const newDevice = (): VirtioDevice =>
  new VirtioDevice(block(disk), memory, (level) => {
    up = level;
  });

function start(): void {
  driver = new DriverQueue(memory, 0x1000, SIZE);
  bringUp(device, [driver]);
}

beforeEach(() => {
  disk = new MemoryDisk();
  for (let i = 0; i < disk.size; i++) disk.bytes[i] = (i * 31 + (i >> 9)) & 0xff;
  memory = new PlainMemory(0x20000);
  up = false;
  device = newDevice();
  start();
});

function header(type: number, sector: number): { at: number; length: number } {
  memory.view.setUint32(HEADER, type, true);
  memory.view.setBigUint64(HEADER + 8, BigInt(sector), true);
  memory.bytes[STATUS] = 0xee;
  return { at: HEADER, length: 16 };
}

/** Makes a request; what came back: bytes written, status. */
function request(type: number, sector: number, lengths: readonly number[] = []): readonly [number, number] {
  const data = lengths.map((length, i) => ({ at: DATA + 0x1000 * i, length, writable: type !== T_OUT }));
  driver.add([header(type, sector), ...data, { at: STATUS, length: 1, writable: true }]);
  device.notify(0);
  const [used] = driver.takeUsed();
  return [used!.written, memory.bytes[STATUS]!];
}

/** Recorded with QEMU: docs/machine.md, "virtio". */
describe('virtio-blk', () => {
  it('reads sectors into buffers of any size, with the status at the end', () => {
    expect(request(T_IN, 3, [100, 924])).toEqual([1025, 0]);
    expect(memory.bytes.slice(DATA, DATA + 100)).toEqual(disk.bytes.slice(3 * SECTOR, 3 * SECTOR + 100));
    expect(memory.bytes.slice(DATA + 0x1000, DATA + 0x1000 + 924)).toEqual(
      disk.bytes.slice(3 * SECTOR + 100, 5 * SECTOR),
    );
  });

  it('writes them, in more pieces than its buffer holds', () => {
    memory.bytes.fill(0x5a, DATA, DATA + 5 * SECTOR);
    expect(request(T_OUT, 7, [5 * SECTOR])).toEqual([1, 0]);
    expect(disk.bytes.slice(7 * SECTOR, 12 * SECTOR).every((byte) => byte === 0x5a)).toBe(true);
    expect([disk.bytes[7 * SECTOR - 1], disk.bytes[12 * SECTOR]]).not.toContain(0x5a);
  });

  it('flushes, and tells its serial number in 20 bytes', () => {
    expect([request(T_FLUSH, 0), disk.flushes]).toEqual([[1, 0], 1]);
    expect(request(T_GET_ID, 0, [20])).toEqual([21, 0]);
    expect(Buffer.from(memory.bytes.slice(DATA, DATA + 20)).toString()).toBe('serial of this disk:');
  });

  it('says IOERR beyond its end, for half a sector, and when the disk fails', () => {
    expect(request(T_IN, SECTORS, [SECTOR])).toEqual([513, 1]);
    expect(request(T_IN, SECTORS - 1, [2 * SECTOR])[1]).toBe(1);
    expect(request(T_OUT, 0, [100])).toEqual([1, 1]);
    disk.fails = true;
    expect([request(T_IN, 0, [SECTOR])[1], request(T_OUT, 0, [SECTOR])[1]]).toEqual([1, 1]);
  });

  it('says UNSUPP for a request that it does not know, and IOERR for a write to what is read only', () => {
    expect(request(T_DISCARD, 0)).toEqual([1, 2]);
    disk.readOnly = true;
    device = newDevice();
    start();
    device.deviceSelect = 0;
    expect(device.offeredHalf() & (1 << 5)).toBe(1 << 5);
    expect(request(T_OUT, 0, [SECTOR])).toEqual([1, 1]);
  });

  it('asks for a reset when a request has no frame, and then does nothing until it is reset', () => {
    header(T_IN, 0);
    driver.add([{ at: HEADER, length: 15 }]);
    device.notify(0);
    expect([device.status, device.isr, up]).toEqual([DRIVER_OK | 0x40, ISR_CONFIG, true]);
    driver.add([{ at: HEADER, length: 16 }]);
    device.notify(0);
    expect(driver.takeUsed()).toEqual([]);
    device.status = 0;
    expect([device.status, device.isr, up]).toEqual([0, 0, false]);
    memory.bytes.fill(0, 0x1000, 0x2000);
    start();
    expect(request(T_FLUSH, 0)).toEqual([1, 0]);
  });

  it('does not accept what it has not offered, or without VERSION_1', () => {
    device.status = 0;
    device.status = 3;
    device.status = FEATURES_OK;
    expect(device.status).toBe(3);
    device.driverSelect = 1;
    device.accept(3);
    device.status = FEATURES_OK;
    expect(device.status).toBe(3);
    device.accept(1);
    device.status = FEATURES_OK;
    expect(device.status).toBe(FEATURES_OK);
  });

  it('goes on from a saved state: requests that wait, and the interrupt that nobody has seen', () => {
    request(T_IN, 0, [SECTOR]);
    driver.add([header(T_FLUSH, 0), { at: STATUS, length: 1, writable: true }]);
    const state = structuredClone(device.save());
    up = false;
    device = newDevice();
    device.restore(state);
    expect([up, device.isr]).toEqual([true, ISR_QUEUE]);
    device.notify(0);
    expect([driver.takeUsed(), disk.flushes]).toEqual([[{ head: 3, written: 1 }], 1]);
  });
});
