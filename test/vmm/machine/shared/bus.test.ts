import { describe, expect, it } from 'vitest';

import type { AccessSize } from '../../../../guest/riscv/memory.ts';
import { type MmioDevice, SystemBus } from '../../../../vmm/machine/shared/bus.ts';
import { TestFinisher } from '../../../../vmm/machine/shared/test-finisher.ts';

/** Remembers its accesses; every byte reads as its own offset. */
class Recorder implements MmioDevice {
  readonly accesses: string[] = [];
  readonly maxAccess: AccessSize;

  constructor(maxAccess: AccessSize) {
    this.maxAccess = maxAccess;
  }

  load(offset: number, size: AccessSize): bigint {
    this.accesses.push(`load ${offset}/${size}`);
    return Array.from({ length: size }, (_, i) => BigInt(offset + i) << BigInt(8 * i)).reduce((a, b) => a | b);
  }

  store(offset: number, size: AccessSize, value: bigint, by: number): boolean {
    this.accesses.push(`store ${offset}/${size} ${value.toString(16)} by ${by}`);
    return true;
  }
}

function busWith(device: MmioDevice): SystemBus {
  const bus = new SystemBus();
  bus.map({ base: 0x1000, size: 0x100 }, device);
  return bus;
}

describe('system bus', () => {
  it('is an access fault where nothing is mapped, at a gap and across an end', () => {
    const bus = busWith(new Recorder(8));
    expect(bus.load(0xfff, 1)).toBeUndefined();
    expect(bus.load(0x10fd, 4)).toBeUndefined();
    expect(bus.store(0x1100, 4, 0n, 0)).toBe(false);
  });

  it('passes whole accesses on', () => {
    const device = new Recorder(8);
    expect(busWith(device).load(0x1008, 8)).toBe(0x0f0e_0d0c_0b0a_0908n);
    expect(device.accesses).toEqual(['load 8/8']);
  });

  it('splits what is too wide or misaligned into aligned pieces, as QEMU does', () => {
    const device = new Recorder(4);
    const bus = busWith(device);
    expect(bus.load(0x1004, 8)).toBe(0x0b0a_0908_0706_0504n);
    expect(bus.load(0x1003, 4)).toBe(0x0605_0403n);
    bus.store(0x1006, 4, 0x1122_3344n, 1);
    expect(device.accesses).toEqual([
      'load 4/4',
      'load 8/4',
      'load 3/1',
      'load 4/2',
      'load 6/1',
      'store 6/2 3344 by 1',
      'store 8/2 1122 by 1',
    ]);
  });
});

/** docs/machine.md, "Test finisher" */
describe('test finisher', () => {
  it.each([
    { value: 0x5555n, finish: { kind: 'poweroff', status: 0 } },
    { value: 0x0005_3333n, finish: { kind: 'poweroff', status: 5 } },
    { value: 0x7777n, finish: { kind: 'reset' } },
    { value: 0x1234n, finish: undefined },
  ])('takes $value as $finish, once', ({ value, finish }) => {
    const finisher = new TestFinisher();
    expect(finisher.store(0, 4, value)).toBe(true);
    expect(finisher.take()).toEqual(finish);
    expect(finisher.take()).toBeUndefined();
    expect(finisher.load(0, 4)).toBe(0n);
  });
});
