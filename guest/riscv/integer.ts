/**
 * The integer instructions on registers: opcodes OP-IMM, OP, OP-IMM-32 and OP-32 (unpriv-isa §2.4,
 * §4.2, §13; what else has these opcodes is in bit-manipulation.ts). Each function writes rd; false
 * if `insn` is no instruction.
 *
 * HOT, see execute.ts: functs are literals, named as in unpriv-isa §35.
 */
import { executeBitManipulation } from './bit-manipulation.ts';
import type { Core } from './core.ts';
import * as m from './multiply.ts';
import { shiftLeft, shiftRightArithmetic, shiftRightLogical } from './shift.ts';

const u64 = (value: bigint): bigint => BigInt.asUintN(64, value);

export function executeOpImm(core: Core, insn: number): boolean {
  const { x, halves } = core;
  const rd = (insn >>> 7) & 31;
  const rs1 = (insn >>> 15) & 31;
  const imm = BigInt(insn >> 20);
  switch ((insn >>> 12) & 7) {
    case 0: // ADDI
      x[rd] = x[rs1]! + imm;
      break;
    case 1: // SLLI
      if (insn >>> 26 === 0) shiftLeft(halves, rd, rs1, (insn >>> 20) & 63);
      else return executeBitManipulation(core, insn);
      break;
    case 2: // SLTI
      x[rd] = x[rs1]! < imm ? 1n : 0n;
      break;
    case 3: // SLTIU
      x[rd] = u64(x[rs1]!) < u64(imm) ? 1n : 0n;
      break;
    case 4: // XORI
      x[rd] = x[rs1]! ^ imm;
      break;
    case 5:
      if (insn >>> 26 === 0)
        shiftRightLogical(halves, rd, rs1, (insn >>> 20) & 63); // SRLI
      else if (insn >>> 26 === 0x10)
        shiftRightArithmetic(halves, rd, rs1, (insn >>> 20) & 63); // SRAI
      else return executeBitManipulation(core, insn);
      break;
    case 6: // ORI
      x[rd] = x[rs1]! | imm;
      break;
    default: // ANDI
      x[rd] = x[rs1]! & imm;
  }
  return true;
}

export function executeOp(core: Core, insn: number): boolean {
  const { x, halves } = core;
  const rd = (insn >>> 7) & 31;
  const rs1 = (insn >>> 15) & 31;
  const rs2 = (insn >>> 20) & 31;
  const funct3 = (insn >>> 12) & 7;
  const a = x[rs1]!;
  const b = x[rs2]!;
  switch (insn >>> 25) {
    case 0x00:
      switch (funct3) {
        case 0: // ADD
          x[rd] = a + b;
          break;
        case 1: // SLL
          shiftLeft(halves, rd, rs1, halves[2 * rs2]! & 63);
          break;
        case 2: // SLT
          x[rd] = a < b ? 1n : 0n;
          break;
        case 3: // SLTU
          x[rd] = u64(a) < u64(b) ? 1n : 0n;
          break;
        case 4: // XOR
          x[rd] = a ^ b;
          break;
        case 5: // SRL
          shiftRightLogical(halves, rd, rs1, halves[2 * rs2]! & 63);
          break;
        case 6: // OR
          x[rd] = a | b;
          break;
        default: // AND
          x[rd] = a & b;
      }
      break;
    case 0x20:
      if (funct3 === 0)
        x[rd] = a - b; // SUB
      else if (funct3 === 5)
        shiftRightArithmetic(halves, rd, rs1, halves[2 * rs2]! & 63); // SRA
      else return executeBitManipulation(core, insn);
      break;
    case 0x01:
      switch (funct3) {
        case 0: // MUL
          x[rd] = a * b;
          break;
        case 1:
          x[rd] = m.mulh(a, b);
          break;
        case 2:
          x[rd] = m.mulhsu(a, b);
          break;
        case 3:
          x[rd] = m.mulhu(a, b);
          break;
        case 4:
          x[rd] = m.div(a, b);
          break;
        case 5:
          x[rd] = m.divu(a, b);
          break;
        case 6:
          x[rd] = m.rem(a, b);
          break;
        default:
          x[rd] = m.remu(a, b);
      }
      break;
    default:
      return executeBitManipulation(core, insn);
  }
  return true;
}

/** Results are sign extended from 32 bits. */
export function executeOpImm32(core: Core, insn: number): boolean {
  const { x, halves } = core;
  const rd = (insn >>> 7) & 31;
  const rs1 = (insn >>> 15) & 31;
  const a = halves[2 * rs1]!;
  switch ((insn >>> 12) & 7) {
    case 0: // ADDIW
      x[rd] = BigInt((a + (insn >> 20)) | 0);
      break;
    case 1: // SLLIW
      if (insn >>> 25 === 0) x[rd] = BigInt(a << ((insn >>> 20) & 31));
      else return executeBitManipulation(core, insn);
      break;
    case 5:
      if (insn >>> 25 === 0)
        x[rd] = BigInt((a >>> ((insn >>> 20) & 31)) | 0); // SRLIW
      else if (insn >>> 25 === 0x20)
        x[rd] = BigInt(a >> ((insn >>> 20) & 31)); // SRAIW
      else return executeBitManipulation(core, insn);
      break;
    default:
      return false;
  }
  return true;
}

export function executeOp32(core: Core, insn: number): boolean {
  const { x, halves } = core;
  const rd = (insn >>> 7) & 31;
  const rs1 = (insn >>> 15) & 31;
  const rs2 = (insn >>> 20) & 31;
  const funct3 = (insn >>> 12) & 7;
  const a = halves[2 * rs1]!;
  const b = halves[2 * rs2]!;
  switch (((insn >>> 25) << 3) | funct3) {
    case 0x000: // ADDW
      x[rd] = BigInt((a + b) | 0);
      break;
    case 0x100: // SUBW
      x[rd] = BigInt((a - b) | 0);
      break;
    case 0x001: // SLLW
      x[rd] = BigInt(a << (b & 31));
      break;
    case 0x005: // SRLW
      x[rd] = BigInt((a >>> (b & 31)) | 0);
      break;
    case 0x105: // SRAW
      x[rd] = BigInt(a >> (b & 31));
      break;
    case 0x008: // MULW
      x[rd] = BigInt(Math.imul(a, b));
      break;
    case 0x00c:
      x[rd] = BigInt(m.divw(a, b));
      break;
    case 0x00d:
      x[rd] = BigInt(m.divuw(a, b));
      break;
    case 0x00e:
      x[rd] = BigInt(m.remw(a, b));
      break;
    case 0x00f:
      x[rd] = BigInt(m.remuw(a, b));
      break;
    default:
      return executeBitManipulation(core, insn);
  }
  return true;
}
