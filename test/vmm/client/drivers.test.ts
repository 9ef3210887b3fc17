import { beforeEach, describe, expect, it, vi } from 'vitest';

import { device as capture } from '../../../devices/capture/device.ts';
import { REG } from '../../../devices/capture/regs.ts';
import { device as edu } from '../../../devices/edu/device.ts';
import type { DeviceType } from '../../../devices/kit/device.ts';
import { device as mscribe } from '../../../devices/mscribe/device.ts';
import * as clock from '../../../platform/clock.ts';
import { Capture, readFrame } from '../../../vmm/client/drivers/capture.ts';
import { Edu, eduTransferWrites } from '../../../vmm/client/drivers/edu.ts';
import { encodeJob, Mscribe, readResult, STATUS_DONE } from '../../../vmm/client/drivers/mscribe.ts';
import type { Registers } from '../../../vmm/client/registers.ts';
import { Bench } from '../../devices/bench.ts';

/**
 * The drivers on the devices themselves, in one thread: each look at a register lets the device's
 * time pass.
 */

const RAM = 0x10_0000;
const MS = 1e6;

function onBench(type: DeviceType, properties: Readonly<Record<string, string>> = {}) {
  const bench = new Bench(type, properties).ready();
  bench.memory.back(RAM, RAM + 0x4000);
  const registers: Registers = {
    read(offset) {
      bench.advance(MS);
      return bench.reg(offset);
    },
    write: (offset, value) => bench.setReg(offset, value),
  };
  return { bench, registers };
}

describe('Edu', () => {
  const { bench, registers } = onBench(edu, { 'dma-latency-ms': '3' });
  const driver = new Edu(registers);

  it('computes factorials mod 2^32', () => {
    expect([driver.factorial(5), driver.factorial(13)]).toEqual([120, 0x7328cc00]);
  });

  it('copies through its buffer, and is back when the bytes are there', () => {
    bench.memory.poke(RAM, Uint8Array.of(1, 2, 3, 4, 5));
    driver.readBus(RAM, 5);
    driver.writeBus(RAM + 0x1001, 4);
    expect([...bench.memory.bytes(RAM + 0x1000, 6)]).toEqual([0, 1, 2, 3, 4, 0]);
  });

  it('starts a transfer that interrupts at its end, from any place of the buffer', () => {
    bench.memory.poke(RAM, Uint8Array.of(9));
    driver.start({ direction: 'from-bus', iova: RAM, length: 1, at: 4095 });
    while (driver.isTransferring());
    driver.start({ direction: 'to-bus', iova: RAM + 0x2000, length: 1, at: 4095, interrupt: true });
    const meanwhile = bench.line.level;
    while (driver.isTransferring());
    expect([meanwhile, bench.line.level, bench.memory.bytes(RAM + 0x2000, 1)[0]]).toEqual([false, true, 9]);
    expect(driver.acknowledge()).toBe(0x100);
    expect(bench.line.level).toBe(false);
  });

  it('raises an interrupt and takes it back', () => {
    driver.raise(0x30);
    expect(bench.line.level).toBe(true);
    expect([driver.acknowledge(), bench.line.level]).toEqual([0x30, false]);
  });

  it.each([
    ['an iova from 2^32 on', { iova: 2 ** 32 - 4, length: 8 }],
    ['more than the buffer', { iova: 0, length: 4097 }],
    ['the end of the buffer', { iova: 0, length: 2, at: 4095 }],
  ])('refuses %s with EINVAL', (_, transfer) => {
    expect(() => eduTransferWrites({ direction: 'to-bus', ...transfer })).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    );
  });

  it('knows another device by its id: ENODEV', () => {
    driver.check();
    expect(() => new Edu(onBench(capture).registers).check()).toThrow(expect.objectContaining({ code: 'ENODEV' }));
  });

  it('gives up on a device that never ends: ETIMEDOUT', () => {
    let now = 0;
    vi.spyOn(clock, 'monotonicNs').mockImplementation(() => (now += 5e9));
    const stuck: Registers = { read: () => 0xffff_ffff, write: () => {} };
    expect(() => new Edu(stuck).factorial(3)).toThrow(expect.objectContaining({ code: 'ETIMEDOUT' }));
    vi.restoreAllMocks();
  });
});

describe('Capture on a bus that posts its writes', () => {
  it('has stopped the device when stop() returns', () => {
    const { registers } = onBench(capture);
    const posted: [number, number][] = [];
    const arrived: [number, number][] = [];
    const driver = new Capture({
      read(offset) {
        arrived.push(...posted.splice(0));
        return registers.read(offset);
      },
      write: (offset, value) => void posted.push([offset, value]),
    });
    driver.stop();
    expect([posted, arrived]).toEqual([[], [[REG.CTRL, 0]]]);
  });
});

describe('Capture', () => {
  let bench: Bench;
  let driver: Capture;
  beforeEach(() => {
    const made = onBench(capture);
    bench = made.bench;
    driver = new Capture(made.registers);
  });

  it('fills its ring with whole frames, in order', () => {
    driver.start({ iova: RAM, frames: 4, frameSize: 1024, rate: 1000 });
    while (driver.writeIndex() < 6);
    driver.stop();
    const end = driver.writeIndex();
    const slots = [end - 1, end - 2].map((index) => readFrame(bench.memory.bytes(RAM + (index % 4) * 1024, 1024)));
    expect(slots).toEqual([
      { sequence: end - 1, isWhole: true },
      { sequence: end - 2, isWhole: true },
    ]);
    expect([driver.faults(), driver.writeIndex()]).toEqual([0, end]);
  });

  it('interrupts every so many frames, until it is acknowledged', () => {
    driver.start({ iova: RAM, frames: 4, frameSize: 64, rate: 1000, irqEvery: 2 });
    while (driver.writeIndex() < 2);
    const level = bench.line.level;
    driver.stop();
    driver.acknowledge();
    expect([level, bench.line.level]).toEqual([true, false]);
  });

  it('counts what was refused', () => {
    driver.start({ iova: RAM + 2 ** 33, frames: 4, frameSize: 64, rate: 1000 });
    driver.writeIndex();
    expect(driver.faults()).toBeGreaterThan(0);
  });

  it.each([
    ['a payload bit', 40],
    ['its length', 4],
    ['its magic', 0],
    ['its checksum', 0x18],
  ])('a frame with %s changed is not whole', (_, at) => {
    driver.start({ iova: RAM, frames: 1, frameSize: 128, rate: 1000 });
    while (driver.writeIndex() < 1);
    driver.stop();
    const frame = bench.memory.bytes(RAM, 128);
    frame[at]! ^= 1;
    expect(readFrame(frame).isWhole).toBe(false);
  });
});

describe('Mscribe', () => {
  const { bench, registers } = onBench(mscribe);
  const driver = new Mscribe(registers);
  const result = (slot: number) => readResult(bench.memory.bytes(RAM + 32 * slot, 32));

  it('copies and fills, job by job', () => {
    bench.memory.poke(RAM + 0x1000, Uint8Array.of(7, 8, 9));
    const copy = { operation: 'copy', source: RAM + 0x1000, destination: RAM + 0x2000, length: 3 } as const;
    bench.memory.poke(RAM, encodeJob(copy));
    bench.memory.poke(RAM + 32, encodeJob({ ...copy, operation: 'fill', source: 0x55n, destination: RAM + 0x3000 }));
    driver.start(RAM, 2);
    const before = [result(0), driver.ended()];
    driver.submit(2);
    while (driver.ended() < 2);

    expect(before).toEqual([{ written: 0, status: 0 }, 0]);
    expect([result(0), result(1)]).toEqual(Array(2).fill({ written: 3, status: STATUS_DONE }));
    expect([...bench.memory.bytes(RAM + 0x2000, 3), ...bench.memory.bytes(RAM + 0x3000, 3)]).toEqual([
      7, 8, 9, 0x55, 0, 0,
    ]);
    expect(driver.hasFailed()).toBe(false);
  });

  it('says that its ring cannot be reached, until it is started again', () => {
    driver.start(RAM + 2 ** 33, 2);
    driver.submit(1);
    while (!driver.hasFailed());
    driver.start(RAM, 2);
    expect(driver.hasFailed()).toBe(false);
  });

  it('drops its jobs at a reset', () => {
    driver.reset();
    expect(driver.ended()).toBe(0);
  });
});
