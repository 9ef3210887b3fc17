/** Moves between memory and the xmm and ymm registers. */
import type { Instruction, ModRm } from './instruction.ts';
import type { Run } from './operands.ts';

export interface VectorMove {
  readonly isStore: boolean;
  /** Bytes in memory. */
  readonly width: 4 | 8 | 16 | 32;
  /** Where they are in the register; a load of a half leaves the other one. */
  readonly half?: 0 | 8;
}

type Move = 0 | 4 | 8 | 16 | 'low' | 'high';

/** By opcode, for the prefixes that have it: none, 66, f3, f2. Bytes, 16 of an xmm register. */
const MOVES = new Map<number, readonly [Move, Move, Move, Move]>([
  [0x0f10, [16, 16, 4, 8]], // movups, movupd, movss, movsd
  [0x0f11, [16, 16, 4, 8]],
  [0x0f12, ['low', 'low', 0, 0]], // movlps, movlpd
  [0x0f13, ['low', 'low', 0, 0]],
  [0x0f16, ['high', 'high', 0, 0]], // movhps, movhpd
  [0x0f17, ['high', 'high', 0, 0]],
  [0x0f28, [16, 16, 0, 0]], // movaps, movapd
  [0x0f29, [16, 16, 0, 0]],
  [0x0f2b, [16, 16, 0, 0]], // movntps, movntpd
  [0x0f6e, [0, 4, 0, 0]], // movd; movq with W
  [0x0f6f, [0, 16, 16, 0]], // movdqa, movdqu
  [0x0f7e, [0, 4, 8, 0]], // movd to memory; f3: movq from memory
  [0x0f7f, [0, 16, 16, 0]],
  [0x0fd6, [0, 8, 0, 0]], // movq to memory
  [0x0fe7, [0, 16, 0, 0]], // movntdq
  [0x0ff0, [0, 0, 0, 16]], // lddqu
  [0x0f382a, [0, 16, 0, 0]], // movntdqa
]);
const STORES = [0x0f11, 0x0f13, 0x0f17, 0x0f29, 0x0f2b, 0x0f7e, 0x0f7f, 0x0fd6, 0x0fe7];
const W = 8;

/** Undefined for another instruction. */
export function vectorMove({ opcode, has66, repeat, rex, vex }: Instruction): VectorMove | undefined {
  const prefix = repeat === 0xf3 ? 2 : repeat === 0xf2 ? 3 : has66 ? 1 : 0;
  const move = MOVES.get(opcode)?.[prefix];
  if (!move) return undefined;
  const isStore = STORES.includes(opcode) && !(opcode === 0x0f7e && prefix === 2);
  if (move === 'low' || move === 'high') return { isStore, width: 8, half: move === 'low' ? 0 : 8 };
  if (vex && vex.source !== 0) return undefined; // there is no such instruction
  const isWide = move === 4 && (rex & W) !== 0 && (opcode === 0x0f6e || opcode === 0x0f7e);
  if (move === 16 && vex?.is256) return { isStore, width: 32 };
  return { isStore, width: isWide ? 8 : move };
}

/** Memory is moved 8 bytes at a time, as nothing wider reaches a device's registers. */
export function moveVector(move: VectorMove, { reg, vaddr }: ModRm, { instruction: { vex }, cpu, bus }: Run): void {
  const { isStore, width, half } = move;
  const piece = Math.min(width, 8);
  const from = half ?? 0;
  const number = vex && half !== undefined && !isStore ? vex.source : reg; // what the half goes into
  const held = width === 32 ? cpu.ymm(number) : cpu.xmm(number);
  const bytes = isStore || half !== undefined ? held : new Uint8Array(width);
  for (let at = 0; at < width; at += piece) {
    const place = vaddr + BigInt(at);
    if (isStore) bus.store(place, bytes.subarray(from + at, from + at + piece));
    else bytes.set(bus.load(place, piece), from + at);
  }
  if (isStore) return;
  if (vex) cpu.setYmm(reg, bytes);
  else cpu.setXmm(reg, bytes);
}
