/** A virtio device as a function of the board (docs/machine.md, "virtio"). */
import { beforeEach, describe, expect, it } from 'vitest';

import { device as virtioRng } from '../../../devices/virtio-rng/device.ts';
import { Bench } from '../bench.ts';
import { DriverQueue, MEMORY_BASE, PlainMemory } from './driver.ts';
import {
  AF_CTRL,
  bringUpByRegisters,
  COMMON,
  DRIVER_OK,
  ISR_AT,
  NEEDS_RESET,
  notify,
  offeredFeatures,
  registersOf,
  UPPER_FEATURES,
  type VirtioRegisters,
} from './pci-driver.ts';

const SIZE = 8;
const RINGS = 0x1000;
const DATA = 0x4000;
const MEMORY = 0x8000;
const MESSAGES = 0xfee0_0000;
const MSIX_CONTROL = 0x98 + 2;
const WINDOW = 0x84;

let bench: Bench;
let memory: PlainMemory;
let queue: DriverQueue;
let registers: VirtioRegisters;

function plug(properties: Readonly<Record<string, string>> = {}): void {
  bench = new Bench(virtioRng, properties).ready();
  bench.memory.backWith(MEMORY_BASE, memory.bytes);
  bench.memory.back(MESSAGES, MESSAGES + 0x1000);
  registers = registersOf(bench.endpoint);
}

beforeEach(() => {
  memory = new PlainMemory(MEMORY);
  queue = new DriverQueue(memory, RINGS, SIZE);
  plug();
});

/** Each vector's message is the vector's number plus 0x40, to a word of its own. */
function enableMsix(): void {
  for (const vector of [0, 1]) {
    const entry = [MESSAGES + 4 * vector, 0, 0x40 + vector, 0];
    for (const [i, value] of entry.entries()) bench.endpoint.write(1, 16 * vector + 4 * i, 4, value, 0);
  }
  bench.configWrite(MSIX_CONTROL, 2, 0x8000);
}

const ask = (length: number, at = DATA): void => {
  queue.add([{ at, length, writable: true }]);
  notify(registers, 0);
};

describe('a virtio device on the board', () => {
  it('is a modern virtio function with structures in BAR 4, MSI-X in BAR 1 and a reset of its own', () => {
    expect([bench.config(0, 4), bench.config(8, 4), bench.config(0x2c, 4)]).toEqual([
      0x1044_1af4, 0x00ff_0001, 0x1100_1af4,
    ]);
    const found: number[][] = [];
    for (let at = bench.config(0x34, 1); at !== 0; at = bench.config(at + 1, 1)) {
      found.push([at, bench.config(at, 1), bench.config(at + 3, 1), bench.config(at + 8, 4)]);
    }
    expect(found).toEqual([
      [0x40, 9, 1, 0x0000],
      [0x50, 9, 3, 0x1000],
      [0x60, 9, 4, 0x2000],
      [0x70, 9, 2, 0x3000],
      [0x84, 9, 5, 0],
      [0x98, 0x11, 0, 0x801],
      [0xa4, 0x13, 3, 0],
    ]);
    expect([bench.config(0x70 + 16, 4), bench.config(MSIX_CONTROL, 2)]).toEqual([4, 1]);
  });

  it('offers what every device offers and addresses of the platform, and insists on these', () => {
    expect(offeredFeatures(registers)).toEqual([0x3000_0000, UPPER_FEATURES]);
    expect(bringUpByRegisters(registers, [queue], { upper: 1 })).toBe(7); // no FEATURES_OK
    expect(bringUpByRegisters(registers, [queue])).toBe(DRIVER_OK);
  });

  it('does its work when it runs, not within the access that notifies it', () => {
    bringUpByRegisters(registers, [queue]);
    ask(64);
    expect(queue.takeUsed()).toEqual([]);
    bench.advance(0);
    expect(queue.takeUsed()).toEqual([{ head: 0, written: 64 }]);
    expect(memory.bytes.subarray(DATA, DATA + 64).some((byte) => byte !== 0)).toBe(true);
    expect(bench.timeline.entries).toHaveLength(1);
  });

  it('interrupts by INTx until its status is read', () => {
    bringUpByRegisters(registers, [queue]);
    ask(8);
    bench.advance(0);
    const raised = bench.line.level;
    expect([raised, registers.read(ISR_AT, 1), bench.line.level, registers.read(ISR_AT, 1)]).toEqual([
      ...[true, 1, false, 0],
    ]);
  });

  it('interrupts by the message of the queue where MSI-X is enabled', () => {
    enableMsix();
    bringUpByRegisters(registers, [queue]);
    ask(8);
    bench.advance(0);
    expect([bench.memory.u32(MESSAGES), bench.memory.u32(MESSAGES + 4), bench.line.edges]).toEqual([0, 0x41, []]);
    expect(bench.memory.log.at(-1)).toBe(`store 0x${(MESSAGES + 4).toString(16)}=0x41`); // after all that it tells of
  });

  it('raises INTx anew when MSI-X is switched off before anybody has read the status', () => {
    enableMsix();
    bringUpByRegisters(registers, [queue]);
    ask(8);
    bench.advance(0);
    bench.configWrite(MSIX_CONTROL, 2, 0);
    expect(bench.line.level).toBe(true);
  });

  it('asks for a reset, by the message of the device, when a ring or a buffer is not in memory', () => {
    enableMsix();
    bringUpByRegisters(registers, [queue]);
    ask(8, MEMORY);
    bench.advance(0);
    expect([registers.read(COMMON.status, 1), bench.memory.u32(MESSAGES)]).toEqual([DRIVER_OK | NEEDS_RESET, 0x40]);
    queue = new DriverQueue(memory, MEMORY, SIZE);
    expect(bringUpByRegisters(registers, [queue])).toBe(DRIVER_OK);
    notify(registers, 0);
    bench.advance(0);
    expect(registers.read(COMMON.status, 1)).toBe(DRIVER_OK | NEEDS_RESET);
  });

  it.each([
    ['without bus master', () => bench.setCommand(2)],
    ['after a function-level reset', () => bench.configWrite(AF_CTRL, 1, 1)],
    ['after a reset of the device', () => registers.write(COMMON.status, 1, 0)],
  ])('moves no byte %s', (_what, stop) => {
    bringUpByRegisters(registers, [queue]);
    ask(64);
    stop();
    bench.advance(0);
    expect(queue.takeUsed()).toEqual([]);
    expect(bench.memory.log).toEqual([]);
  });

  it('knows no queue and no vector after a function-level reset', () => {
    bringUpByRegisters(registers, [queue]);
    bench.configWrite(AF_CTRL, 1, 1);
    bench.ready();
    expect([COMMON.queueDesc, COMMON.queueEnable, COMMON.status].map((at) => registers.read(at, 4))).toEqual([0, 0, 0]);
    expect([COMMON.queueVector, COMMON.deviceVector].map((at) => registers.read(at, 2))).toEqual([0xffff, 0xffff]);
  });

  it('can be reached through configuration space, too', () => {
    bench.configWrite(WINDOW + 4, 1, 4);
    bench.configWrite(WINDOW + 8, 4, COMMON.status);
    bench.configWrite(WINDOW + 12, 4, 1);
    bench.configWrite(WINDOW + 16, 4, 3);
    expect([registers.read(COMMON.status, 1), bench.config(WINDOW + 16, 4)]).toEqual([3, 3]);
  });

  it('stops when its slice is over, and goes on with what waits in the next one', () => {
    bringUpByRegisters(registers, [queue]);
    const times = [0, 2e6]; // the slice begins, before the second chain
    bench.endpoint.run();
    let looks = 0;
    const start = bench.nowNs;
    Object.defineProperty(bench, 'nowNs', { get: () => start + (times[looks++] ?? 3e6), configurable: true });
    for (let i = 0; i < 3; i++) ask(8);
    expect(bench.endpoint.run()).toBe(0);
    expect(queue.takeUsed()).toHaveLength(1);
    bench.endpoint.run();
    expect(queue.takeUsed()).toHaveLength(2);
  });

  it('has no MSI-X with msix=0, and then no vector can be set', () => {
    plug({ msix: '0' });
    registers.write(COMMON.deviceVector, 2, 0);
    expect([bench.config(0x98, 1), registers.read(COMMON.deviceVector, 2)]).toEqual([0x13, 0xffff]);
  });
});
