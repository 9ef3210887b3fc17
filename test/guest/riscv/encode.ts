/** Machine words from the hart's own decode table, for tests that make up code. */
import { INSTRUCTIONS, type Instruction } from '../../../guest/riscv/instructions.ts';

export interface Operands {
  readonly rd?: number;
  readonly rs1?: number;
  readonly rs2?: number;
  readonly rs3?: number;
  readonly rm?: number;
  /** I: signed 12 bits; S: the same; U: the upper 20 bits; shift: the count. */
  readonly imm?: number;
  readonly csr?: number;
}

export function instructionNamed(name: string): Instruction {
  const found = INSTRUCTIONS.find((instruction) => instruction.name === name);
  if (!found) throw new Error(`no instruction ${name}`);
  return found;
}

/** The word, as int32. Fields that the instruction has and that are not given are 0. */
export function encode(name: string, operands: Operands = {}): number {
  const { rd = 0, rs1 = 0, rs2 = 0, rs3 = 0, rm = 0, imm = 0, csr = 0 } = operands;
  const { format, match } = instructionNamed(name);
  const two = match | (rd << 7) | (rs1 << 15);
  switch (format) {
    case 'U':
      return match | (rd << 7) | (imm << 12);
    case 'I':
    case 'shift':
    case 'shiftw':
      return two | (imm << 20);
    case 'S':
      return match | (rs1 << 15) | (rs2 << 20) | ((imm >> 5) << 25) | ((imm & 31) << 7);
    case 'R':
    case 'amo':
      return two | (rs2 << 20);
    case 'unary':
    case 'lr':
      return two;
    case 'unaryrm':
      return two | (rm << 12);
    case 'Rrm':
      return two | (rs2 << 20) | (rm << 12);
    case 'fma':
      return two | (rs2 << 20) | (rs3 << 27) | (rm << 12);
    case 'csr':
      return two | (csr << 20);
    case 'fence':
    case 'B': // a branch to itself
      return match | (rs1 << 15) | (rs2 << 20);
    case 'J': // a jump to itself
      return match | (rd << 7);
    case 'none':
      return match;
  }
}

/** A word of encode with another target: `offset` is from the instruction. */
export const branchTo = (word: number, offset: number): number =>
  word |
  (((offset >> 12) & 1) << 31) |
  (((offset >> 5) & 63) << 25) |
  (((offset >> 1) & 15) << 8) |
  (((offset >> 11) & 1) << 7);
export const jumpTo = (word: number, offset: number): number =>
  word |
  (((offset >> 20) & 1) << 31) |
  (((offset >> 1) & 1023) << 21) |
  (((offset >> 11) & 1) << 20) |
  (offset & 0xff000);

/** x[rd] ← any 32-bit value that is sign extended. */
export function loadImmediate(rd: number, value: number): readonly number[] {
  const upper = ((value + 0x800) >>> 12) & 0xf_ffff;
  return [encode('lui', { rd, imm: upper }), encode('addiw', { rd, rs1: rd, imm: (value << 20) >> 20 })];
}
