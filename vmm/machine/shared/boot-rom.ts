/**
 * The mask ROM that a hart starts in, and the place of the device tree (docs/machine.md, "Boot").
 */
import type { AccessSize } from '../../../guest/riscv/memory.ts';
import type { MmioDevice } from './bus.ts';
import { MROM, RAM_BASE } from './memory-map.ts';

export const RESET_PC = MROM.base;
const TWO_MIB = 0x20_0000;
const FW_DYNAMIC_MAGIC = 0x4942_534f; // "OSBI"
const FW_DYNAMIC_VERSION = 2;
const FW_DYNAMIC_NEXT_MODE_S = 1;

/** a0 = hart id, a1 = device tree, a2 = &fw_dynamic info, jump to the start address. */
const CODE = [
  0x0000_0297, // 1: auipc t0, 0
  0x0282_8613, //    addi  a2, t0, 40
  0xf140_2573, //    csrr  a0, mhartid
  0x0202_b583, //    ld    a1, 32(t0)
  0x0182_b283, //    ld    t0, 24(t0)
  0x0002_8067, //    jr    t0
];

/** The device tree goes to the last 2 MiB boundary that leaves 2 MiB of RAM above it. */
export const deviceTreeGpa = (ramSize: number): number =>
  Math.floor((RAM_BASE + ramSize) / TWO_MIB) * TWO_MIB - TWO_MIB;

/** Where a hart goes on after the ROM. */
export interface BootTarget {
  readonly entry: number;
  readonly deviceTree: number;
  /** Where firmware at `entry` goes on, in S mode; 0: this machine does not say. */
  readonly next?: number | undefined;
}

/** The ROM's contents; a store to it is ignored. */
export function bootRom({ entry, deviceTree, next = 0 }: BootTarget): MmioDevice {
  const view = new DataView(new ArrayBuffer(MROM.size));
  for (const [i, word] of CODE.entries()) view.setUint32(4 * i, word, true);
  view.setBigUint64(0x18, BigInt(entry), true);
  view.setBigUint64(0x20, BigInt(deviceTree), true);
  const info = [FW_DYNAMIC_MAGIC, FW_DYNAMIC_VERSION, next, FW_DYNAMIC_NEXT_MODE_S, 0, 0];
  for (const [i, word] of info.entries()) view.setBigUint64(0x28 + 8 * i, BigInt(word), true);
  return {
    maxAccess: 8,
    load: (offset, size) => read(view, offset, size),
    store: () => true,
  };
}

function read(view: DataView, offset: number, size: AccessSize): bigint {
  switch (size) {
    case 1:
      return BigInt(view.getUint8(offset));
    case 2:
      return BigInt(view.getUint16(offset, true));
    case 4:
      return BigInt(view.getUint32(offset, true));
    case 8:
      return view.getBigUint64(offset, true);
  }
}
