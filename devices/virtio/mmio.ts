/**
 * The registers of a virtio device over MMIO (virtio 1.3 §4.2.2), the modern interface: version 2.
 * An offset without a meaning reads 0 and ignores writes.
 */
import type { VirtioDevice } from './device.ts';

const MAGIC = 0x7472_6976; // "virt"
const VERSION = 2;
const VENDOR = 0x554d_4551; // "QEMU"

export const VIRTIO_MMIO_CONFIG = 0x100;

/** Reads a register of 4 bytes. Without a device the slot says device id 0. */
export function readMmio(device: VirtioDevice | undefined, offset: number): number {
  switch (offset) {
    case 0x000:
      return MAGIC;
    case 0x004:
      return VERSION;
    case 0x00c:
      return VENDOR;
  }
  if (!device) return 0;
  switch (offset) {
    case 0x008:
      return device.kind.id;
    case 0x010:
      return device.offeredHalf();
    case 0x034:
      return device.selected?.maxSize ?? 0;
    case 0x044:
      return device.selected?.ready ? 1 : 0;
    case 0x060:
      return device.isr;
    case 0x070:
      return device.status;
    default:
      return 0; // also ConfigGeneration: the configuration never changes
  }
}

export function writeMmio(device: VirtioDevice | undefined, offset: number, value: number): void {
  if (!device) return;
  const queue = device.selected;
  switch (offset) {
    case 0x014:
      device.deviceSelect = value;
      return;
    case 0x020:
      device.accept(value);
      return;
    case 0x024:
      device.driverSelect = value;
      return;
    case 0x030:
      device.queueSelect = value;
      return;
    case 0x050:
      device.notify(value);
      return;
    case 0x064:
      device.acknowledge(value);
      return;
    case 0x070:
      device.status = value & 0xff;
      return;
  }
  if (!queue) return;
  switch (offset) {
    case 0x038:
      if (isQueueSize(value, queue.maxSize)) queue.size = value;
      return;
    case 0x044:
      queue.ready = value === 1;
      return;
    case 0x080:
    case 0x084:
      queue.desc = withHalf(queue.desc, offset - 0x080, value);
      return;
    case 0x090:
    case 0x094:
      queue.driver = withHalf(queue.driver, offset - 0x090, value);
      return;
    case 0x0a0:
    case 0x0a4:
      queue.device = withHalf(queue.device, offset - 0x0a0, value);
      return;
  }
}

/** §2.7: a power of two. */
export const isQueueSize = (size: number, max: number): boolean => size > 0 && size <= max && (size & (size - 1)) === 0;

/** Nothing lies at 2^52 and above: every such address is kept as one below it. */
const LAST_HIGH = 0xf_ffff;

/** An address with its half at byte 0 or 4 replaced. */
export const withHalf = (address: number, at: number, half: number): number =>
  at === 0
    ? Math.floor(address / 2 ** 32) * 2 ** 32 + (half >>> 0)
    : Math.min(half >>> 0, LAST_HIGH) * 2 ** 32 + (address % 2 ** 32);
