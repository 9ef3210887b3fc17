/** virtio-blk as a function of the board, with a file behind it. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { parseProperties } from '../../../devices/kit/properties.ts';
import { SECTOR } from '../../../devices/virtio/blk.ts';
import { REG } from '../../../devices/virtio/regs.ts';
import { device as virtioBlk } from '../../../devices/virtio-blk/device.ts';
import type { Bench } from '../bench.ts';
import { ask, DATA, statusOf, T_FLUSH, T_IN, T_OUT, UNTOUCHED } from './disk-driver.ts';
import { DriverQueue, type PlainMemory } from './driver.ts';
import {
  AF_CTRL,
  bringUpByRegisters,
  CONFIG_AT,
  DRIVER_OK,
  offeredFeatures,
  type VirtioRegisters,
} from './pci-driver.ts';
import { Plugged } from './plugged.ts';

const SECTORS = 8;
const F_RO = 1 << 5;
const F_FLUSH = 1 << 9;

let dir: string;
let drive: string;
let plugged: Plugged | undefined;
let bench: Bench;
let memory: PlainMemory;
let queue: DriverQueue;
let registers: VirtioRegisters;

const optionsOf = (properties: Readonly<Record<string, string>>) =>
  parseProperties('virtio-blk', virtioBlk.properties, properties);

function plug(properties: Readonly<Record<string, string>> = {}): void {
  const all = { drive, ...properties };
  plugged = new Plugged(virtioBlk, 0x4_0000, { properties: all });
  ({ bench, memory, registers } = plugged);
  bench.ready();
  queue = new DriverQueue(memory, 0x1000, 16);
  bringUpByRegisters(registers, [queue]);
}

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'livevmm-virtio-blk-'));
  drive = join(dir, 'disk');
  writeFileSync(
    drive,
    Uint8Array.from({ length: SECTORS * SECTOR + 100 }, (_, i) => (i * 31 + (i >> 9)) & 0xff),
  );
});

afterEach(() => {
  plugged?.unplug();
  plugged = undefined;
  rmSync(dir, { recursive: true });
});

/** Makes a request; what came back: the status. */
function request(type: number, sector: number, length: number): number {
  ask({ memory, queue, registers }, type, sector, length);
  bench.advance(0);
  return statusOf(memory);
}

describe('virtio-blk on the board', () => {
  it('tells the size of its file in whole sectors, and reads and writes it', () => {
    plug();
    expect(registers.read(CONFIG_AT, 4)).toBe(SECTORS);
    expect(request(T_IN, 3, SECTOR)).toBe(0);
    expect(memory.bytes.slice(DATA, DATA + SECTOR)).toEqual(
      new Uint8Array(readFileSync(drive).subarray(3 * SECTOR, 4 * SECTOR)),
    );
    memory.bytes.fill(0x5a, DATA, DATA + SECTOR);
    expect([request(T_OUT, 7, SECTOR), request(T_FLUSH, 0, 0), request(T_IN, SECTORS, SECTOR)]).toEqual([0, 0, 1]);
    expect(
      readFileSync(drive)
        .subarray(7 * SECTOR, 8 * SECTOR)
        .every((byte) => byte === 0x5a),
    ).toBe(true);
  });

  it('waits for its disk outside of transactions, so that no fence of the IOMMU waits for it', () => {
    plug();
    const before = bench.memory.idles;
    request(T_IN, 0, SECTOR);
    expect(bench.memory.idles - before).toBe(2); // before the file is read, and at the end
  });

  describe('in the middle of a request that takes long', () => {
    const PIECE = 0x1_0000;
    let served: number;
    beforeEach(() => {
      writeFileSync(drive, new Uint8Array(3 * PIECE).fill(0x5a));
      plug();
      memory.bytes.fill(0, DATA);
      served = 0;
      // each look at the clock takes 1 ms
      Object.defineProperty(bench, 'nowNs', { get: () => (looks += 1e6) });
    });
    let looks = 0;

    it('answers register accesses', () => {
      bench.whenServing = () => {
        served += registers.read(CONFIG_AT, 4) === (3 * PIECE) / SECTOR ? 1 : 0;
      };
      ask({ memory, queue, registers }, T_IN, 0, 3 * PIECE);
      bench.endpoint.run();
      expect([statusOf(memory), served > 1]).toEqual([0, true]);
    });

    it('can be reset, and then moves no more', () => {
      bench.whenServing = () => bench.configWrite(AF_CTRL, 1, 1);
      ask({ memory, queue, registers }, T_IN, 0, 3 * PIECE);
      bench.endpoint.run();
      expect([statusOf(memory), memory.bytes[DATA + 3 * PIECE - 1]]).toEqual([UNTOUCHED, 0]);
      expect(queue.takeUsed()).toEqual([]);
    });

    it('is reset by its driver when the request is done', () => {
      let meanwhile = 0;
      bench.whenServing = () => {
        registers.write(REG.DEVICE_STATUS, 1, 0);
        meanwhile = registers.read(REG.DEVICE_STATUS, 1);
      };
      ask({ memory, queue, registers }, T_IN, 0, 3 * PIECE);
      bench.endpoint.run();
      expect([meanwhile, statusOf(memory), registers.read(REG.DEVICE_STATUS, 1)]).toEqual([DRIVER_OK, 0, 0]);
    });
  });

  it('offers what its properties say', () => {
    const offers = (properties: Readonly<Record<string, string>>): number => {
      plugged?.unplug();
      plug(properties);
      return offeredFeatures(registers)[0] & (F_RO | F_FLUSH);
    };
    expect(offers({})).toBe(F_FLUSH);
    expect(offers({ readonly: 'on', cache: 'writethrough' })).toBe(F_RO);
    expect(request(T_OUT, 0, SECTOR)).toBe(1);
  });

  it('goes on with the same file after a function-level reset', () => {
    plug();
    bench.configWrite(AF_CTRL, 1, 1);
    bench.ready();
    queue = new DriverQueue(memory, 0x2000, 16);
    bringUpByRegisters(registers, [queue]);
    expect(request(T_IN, 0, SECTOR)).toBe(0);
  });

  it.each([
    [{}, 'virtio-blk: give drive=FILE'],
    [{ drive: '/' }, /^virtio-blk: drive: \/: /],
    [{ drive: '/nothing/there' }, /^virtio-blk: drive: \/nothing\/there: /],
  ])('refuses %o in one line', (properties, line) => {
    expect(() => virtioBlk.open!(optionsOf(properties), '')).toThrow(line);
  });
});
