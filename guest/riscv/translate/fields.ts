/** The fields of a 32-bit instruction (unpriv-isa §2.3, figure 2). */
import type { Format, Instruction } from '../instructions.ts';

/** One instruction of a program, decoded. */
export interface Decoded {
  /** Its vaddr. */
  readonly pc: number;
  /** Bytes in memory: 2 or 4. */
  readonly length: number;
  readonly instruction: Instruction;
  /** Its bits; of a 16-bit instruction those of what it stands for. */
  readonly word: number;
  readonly rd: number;
  readonly rs1: number;
  readonly rs2: number;
  /** Signed; of U the value itself, of J and B the offset, of shifts the count. */
  readonly imm: number;
}

export function fieldsOf(pc: number, length: number, word: number, instruction: Instruction): Decoded {
  const rd = (word >>> 7) & 31;
  const rs1 = (word >>> 15) & 31;
  const rs2 = (word >>> 20) & 31;
  return { pc, length, instruction, word, rd, rs1, rs2, imm: immediate(instruction.format, word) };
}

function immediate(format: Format, word: number): number {
  switch (format) {
    case 'U':
      return word & ~0xfff;
    case 'J':
      return ((word >> 31) << 20) | (word & 0xff000) | ((word >> 9) & 0x800) | ((word >> 20) & 0x7fe);
    case 'B':
      return ((word >> 31) << 12) | ((word << 4) & 0x800) | ((word >> 20) & 0x7e0) | ((word >> 7) & 0x1e);
    case 'S':
      return ((word >> 25) << 5) | ((word >> 7) & 31);
    case 'shift':
      return (word >>> 20) & 63;
    case 'shiftw':
      return (word >>> 20) & 31;
    default:
      return word >> 20;
  }
}
