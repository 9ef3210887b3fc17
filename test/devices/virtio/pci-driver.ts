/** A driver of virtio for tests, on the registers in BAR 4 (virtio 1.3 §4.1.4.3, §3.1.1). */
import type { Endpoint } from '../../../devices/kit/endpoint.ts';
import { type DriverQueue, MEMORY_BASE } from './driver.ts';

export interface VirtioRegisters {
  read(at: number, size: 1 | 2 | 4): number;
  write(at: number, size: 1 | 2 | 4, value: number): void;
}

/** Those of a function of the kit. */
export const registersOf = (endpoint: Endpoint): VirtioRegisters => ({
  read: (at, size) => endpoint.read(4, at, size).lo,
  write: (at, size, value) => endpoint.write(4, at, size, value >>> 0, 0),
});

export const COMMON = {
  deviceSelect: 0x00,
  offered: 0x04,
  driverSelect: 0x08,
  accepted: 0x0c,
  deviceVector: 0x10,
  nrQueues: 0x12,
  status: 0x14,
  queueSelect: 0x16,
  queueSize: 0x18,
  queueVector: 0x1a,
  queueEnable: 0x1c,
  queueDesc: 0x20,
  queueDriver: 0x28,
  queueDevice: 0x30,
} as const;
export const ISR_AT = 0x1000;
export const CONFIG_AT = 0x2000;
export const NOTIFY_AT = 0x3000;
/** The control byte of the capability Advanced Features: 1 begins a function-level reset. */
export const AF_CTRL = 0xa4 + 4;

/** VERSION_1 and ACCESS_PLATFORM: the upper half of the features that a driver must accept. */
export const UPPER_FEATURES = 3;
export const FEATURES_OK = 0xb;
export const DRIVER_OK = 0xf;
export const NEEDS_RESET = 0x40;

/** Offers of the device, low half first. */
export function offeredFeatures(registers: VirtioRegisters): [number, number] {
  const half = (select: number): number => {
    registers.write(COMMON.deviceSelect, 4, select);
    return registers.read(COMMON.offered, 4) >>> 0;
  };
  return [half(0), half(1)];
}

/**
 * Resets the device and brings it up, with vector 0 for itself and a vector for each queue. Returns
 * the status that it then has.
 */
export function bringUpByRegisters(
  registers: VirtioRegisters,
  queues: readonly DriverQueue[],
  { lower = 0, upper = UPPER_FEATURES }: { readonly lower?: number; readonly upper?: number } = {},
): number {
  for (const status of [0, 1, 3]) registers.write(COMMON.status, 1, status);
  for (const [select, half] of [lower, upper].entries()) {
    registers.write(COMMON.driverSelect, 4, select);
    registers.write(COMMON.accepted, 4, half);
  }
  registers.write(COMMON.status, 1, FEATURES_OK);
  registers.write(COMMON.deviceVector, 2, 0);
  for (const [i, { size, desc, avail, used }] of queues.entries()) {
    registers.write(COMMON.queueSelect, 2, i);
    registers.write(COMMON.queueSize, 2, size);
    registers.write(COMMON.queueVector, 2, i + 1);
    const areas = [
      [COMMON.queueDesc, desc],
      [COMMON.queueDriver, avail],
      [COMMON.queueDevice, used],
    ] as const;
    for (const [at, area] of areas) {
      registers.write(at, 4, MEMORY_BASE + area);
      registers.write(at + 4, 4, 0);
    }
    registers.write(COMMON.queueEnable, 2, 1);
  }
  registers.write(COMMON.status, 1, registers.read(COMMON.status, 1) | 4);
  return registers.read(COMMON.status, 1);
}

/** Tells the device of buffers in a queue. */
export const notify = (registers: VirtioRegisters, queue: number): void =>
  registers.write(NOTIFY_AT + 4 * queue, 2, queue);
