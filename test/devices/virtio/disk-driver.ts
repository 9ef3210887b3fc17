/** A driver of virtio-blk for tests: one request at a time (virtio 1.3 §5.2.6). */
import type { DriverQueue, PlainMemory } from './driver.ts';
import { notify, type VirtioRegisters } from './pci-driver.ts';

export const [T_IN, T_OUT, T_FLUSH] = [0, 1, 4];
/** Offsets in memory. Data may lie in other pages than what leads to them. */
const HEADER = 0x3000;
const STATUS = 0x3100;
export const DATA = 0x5000;
/** What the status byte is while the device has not written it. */
export const UNTOUCHED = 0xee;

/** Makes a request available, and tells the device of it. */
export function ask(
  { memory, queue, registers }: { memory: PlainMemory; queue: DriverQueue; registers: VirtioRegisters },
  type: number,
  sector: number,
  length: number,
): void {
  memory.view.setUint32(HEADER, type, true);
  memory.view.setBigUint64(HEADER + 8, BigInt(sector), true);
  memory.bytes[STATUS] = UNTOUCHED;
  const data = length > 0 ? [{ at: DATA, length, writable: type === T_IN }] : [];
  queue.add([{ at: HEADER, length: 16 }, ...data, { at: STATUS, length: 1, writable: true }]);
  notify(registers, 0);
}

export const statusOf = ({ bytes }: PlainMemory): number => bytes[STATUS]!;
