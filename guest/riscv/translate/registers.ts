/** Which x registers an instruction reads and writes. Bits of an int32: no garbage. */
import type { Decoded } from './fields.ts';

/** Instructions of F and D, most of whose registers are f registers. */
const READS_X = /^(fl[wd]|fs[wd]|fcvt\.[sd]\.[wl]u?|fmv\.[wd]\.x)$/;
const WRITES_X = /^(f(eq|lt|le|class)\.[sd]|fcvt\.[wl]u?\.[sd]|fmv\.x\.[wd])$/;
export const floatReadsX = (name: string): boolean => READS_X.test(name);
export const floatWritesX = (name: string): boolean => WRITES_X.test(name);

/** Of a CSR instruction: rs1 is a value, not a register. */
const IMMEDIATE = 0x4000;

const NONE = 0;
const bit = (register: number): number => 1 << register;

/** HOT. The registers that are read, as a bit each. x0 may be among them. */
export function readsOf({ instruction, word, rs1, rs2 }: Decoded): number {
  const { name, format, extension } = instruction;
  if (extension === 'F' || extension === 'D') return floatReadsX(name) ? bit(rs1) : NONE;
  switch (format) {
    case 'I':
    case 'shift':
    case 'shiftw':
    case 'unary':
    case 'lr':
      return bit(rs1);
    case 'csr':
      return word & IMMEDIATE ? NONE : bit(rs1);
    case 'R':
    case 'amo':
    case 'S':
    case 'B':
      return bit(rs1) | bit(rs2);
    default:
      return NONE;
  }
}

/** HOT. Those that are written. */
export function writesOf({ instruction, rd }: Decoded): number {
  const { name, format, extension } = instruction;
  if (extension === 'F' || extension === 'D') return floatWritesX(name) ? bit(rd) : NONE;
  switch (format) {
    case 'U':
    case 'J':
    case 'I':
    case 'shift':
    case 'shiftw':
    case 'unary':
    case 'lr':
    case 'csr':
    case 'R':
    case 'amo':
      return bit(rd);
    default:
      return NONE;
  }
}
