/** Moves between memory and the xmm registers. */

import type { Bus } from './bus.ts';
import type { Cpu } from './cpu.ts';
import type { Instruction, ModRm } from './instruction.ts';

export interface VectorMove {
  readonly isStore: boolean;
  /** Bytes in memory. */
  readonly width: 4 | 8 | 16;
}

/** By opcode, for the prefixes that have it: none, 66, f3, f2. */
const MOVES: Readonly<Record<number, readonly (4 | 8 | 16 | 0)[]>> = {
  16: [16, 16, 4, 8], // movups, movupd, movss, movsd
  17: [16, 16, 4, 8],
  40: [16, 16, 0, 0], // movaps, movapd
  41: [16, 16, 0, 0],
  43: [16, 16, 0, 0], // movntps, movntpd
  110: [0, 4, 0, 0], // movd; movq with REX.W
  111: [0, 16, 16, 0], // movdqa, movdqu
  126: [0, 4, 8, 0], // movd to memory; f3: movq from memory
  127: [0, 16, 16, 0],
  214: [0, 8, 0, 0], // movq to memory
  231: [0, 16, 0, 0], // movntdq
};
const STORES = [0x11, 0x29, 0x2b, 0x7e, 0x7f, 0xd6, 0xe7];
const REX_W = 8;

/** Undefined for another instruction. */
export function vectorMove({ opcode, has66, repeat, rex }: Instruction): VectorMove | undefined {
  if (opcode >> 8 !== 0x0f) return undefined;
  const low = opcode & 0xff;
  const prefix = repeat === 0xf3 ? 2 : repeat === 0xf2 ? 3 : has66 ? 1 : 0;
  const width = MOVES[low]?.[prefix];
  if (!width) return undefined;
  const isWide = width === 4 && (rex & REX_W) !== 0 && (low === 0x6e || low === 0x7e);
  return { isStore: STORES.includes(low) && !(low === 0x7e && prefix === 2), width: isWide ? 8 : width };
}

/** Memory is moved 8 bytes at a time, as nothing wider reaches a device's registers. */
export function moveVector({ isStore, width }: VectorMove, { reg, vaddr }: ModRm, cpu: Cpu, bus: Bus): void {
  const piece = Math.min(width, 8);
  const bytes = isStore ? cpu.xmm(reg) : new Uint8Array(width);
  for (let at = 0; at < width; at += piece) {
    const place = vaddr + BigInt(at);
    if (isStore) bus.store(place, bytes.subarray(at, at + piece));
    else bytes.set(bus.load(place, piece), at);
  }
  if (!isStore) cpu.setXmm(reg, bytes);
}
