/** Which x registers an instruction reads and writes. */
import type { Decoded } from './fields.ts';

/** Instructions of F and D, most of whose registers are f registers. */
const READS_X = /^(fl[wd]|fs[wd]|fcvt\.[sd]\.[wl]u?|fmv\.[wd]\.x)$/;
const WRITES_X = /^(f(eq|lt|le|class)\.[sd]|fcvt\.[wl]u?\.[sd]|fmv\.x\.[wd])$/;
export const floatReadsX = (name: string): boolean => READS_X.test(name);
export const floatWritesX = (name: string): boolean => WRITES_X.test(name);

/** Of a CSR instruction: rs1 is a value, not a register. */
const IMMEDIATE = 0x4000;

export interface Registers {
  readonly reads: readonly number[];
  readonly writes: readonly number[];
}

export function registersOf({ instruction, word, rd, rs1, rs2 }: Decoded): Registers {
  const { name, format, extension } = instruction;
  if (extension === 'F' || extension === 'D') {
    return { reads: floatReadsX(name) ? [rs1] : [], writes: floatWritesX(name) ? [rd] : [] };
  }
  switch (format) {
    case 'U':
    case 'J':
      return { reads: [], writes: [rd] };
    case 'I':
    case 'shift':
    case 'shiftw':
    case 'unary':
    case 'lr':
      return { reads: [rs1], writes: [rd] };
    case 'csr':
      return { reads: word & IMMEDIATE ? [] : [rs1], writes: [rd] };
    case 'R':
    case 'amo':
      return { reads: [rs1, rs2], writes: [rd] };
    case 'S':
    case 'B':
      return { reads: [rs1, rs2], writes: [] };
    default:
      return { reads: [], writes: [] };
  }
}
