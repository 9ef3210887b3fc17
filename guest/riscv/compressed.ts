/**
 * The C extension (unpriv-isa §27). Every 16-bit instruction is a shorter form of one 32-bit
 * instruction. `expand` gives that instruction, never 0, and the hart executes only 32-bit
 * instructions. Comments name the forms as the manual's tables 34–36 do.
 */

/**
 * The expansion of reserved and unimplemented encodings: all ones is defined illegal (unpriv-isa
 * §1.5).
 */
export const ILLEGAL = -1;

// Base formats (unpriv-isa §2.3). Immediates are signed numbers; each format takes the bits it
// encodes.
const rType = (opcode: number, funct3: number, rd: number, rs1: number, rs2: number, funct7 = 0): number =>
  (funct7 << 25) | (rs2 << 20) | (rs1 << 15) | (funct3 << 12) | (rd << 7) | opcode;
const iType = (opcode: number, funct3: number, rd: number, rs1: number, imm: number): number =>
  (imm << 20) | (rs1 << 15) | (funct3 << 12) | (rd << 7) | opcode;
const sType = (opcode: number, funct3: number, rs1: number, rs2: number, imm: number): number =>
  ((imm >> 5) << 25) | (rs2 << 20) | (rs1 << 15) | (funct3 << 12) | ((imm & 0x1f) << 7) | opcode;
const bType = (funct3: number, rs1: number, rs2: number, imm: number): number =>
  (((imm >> 12) & 1) << 31) |
  (((imm >> 5) & 0x3f) << 25) |
  (rs2 << 20) |
  (rs1 << 15) |
  (funct3 << 12) |
  (((imm >> 1) & 0xf) << 8) |
  (((imm >> 11) & 1) << 7) |
  0x63;
const jType = (rd: number, imm: number): number =>
  (((imm >> 20) & 1) << 31) |
  (((imm >> 1) & 0x3ff) << 21) |
  (((imm >> 11) & 1) << 20) |
  (((imm >> 12) & 0xff) << 12) |
  (rd << 7) |
  0x6f;

/** `bits(c, 12, 1, 5)`: the field of 1 bit at bit 12 of c, moved to bit 5. */
const bits = (c: number, from: number, width: number, to: number): number => ((c >> from) & ((1 << width) - 1)) << to;
/** Sign-extends the low `width` bits. */
const signed = (value: number, width: number): number => (value << (32 - width)) >> (32 - width);

/**
 * The 32-bit instruction that the 16-bit instruction `c` stands for, as int32; ILLEGAL if it stands
 * for none.
 */
export function expand(c: number): number {
  const rd = (c >> 7) & 31; // also rs1
  const rs2 = (c >> 2) & 31;
  const rdShort = ((c >> 2) & 7) + 8; // rd′ or rs2′ of CIW, CL, CS
  const rs1Short = ((c >> 7) & 7) + 8; // rs1′, also rd′ of CA and CB
  const imm6 = signed(bits(c, 12, 1, 5) | bits(c, 2, 5, 0), 6);
  const shamt = imm6 & 0x3f;

  switch (((c & 3) << 3) | (c >> 13)) {
    // Quadrant 0
    case 0o00: {
      const imm = bits(c, 11, 2, 4) | bits(c, 7, 4, 6) | bits(c, 6, 1, 2) | bits(c, 5, 1, 3);
      // C.ADDI4SPN → addi rd′, x2, imm
      return imm === 0 ? ILLEGAL : iType(0x13, 0, rdShort, 2, imm);
    }
    case 0o01: // C.FLD → fld rd′, imm(rs1′)
      return iType(0x07, 3, rdShort, rs1Short, doubleOffset(c));
    case 0o02: // C.LW → lw rd′, imm(rs1′)
      return iType(0x03, 2, rdShort, rs1Short, wordOffset(c));
    case 0o03: // C.LD → ld rd′, imm(rs1′)
      return iType(0x03, 3, rdShort, rs1Short, doubleOffset(c));
    case 0o05: // C.FSD → fsd rs2′, imm(rs1′)
      return sType(0x27, 3, rs1Short, rdShort, doubleOffset(c));
    case 0o06: // C.SW → sw rs2′, imm(rs1′)
      return sType(0x23, 2, rs1Short, rdShort, wordOffset(c));
    case 0o07: // C.SD → sd rs2′, imm(rs1′)
      return sType(0x23, 3, rs1Short, rdShort, doubleOffset(c));

    // Quadrant 1
    case 0o10: // C.NOP, C.ADDI → addi rd, rd, imm (imm = 0 or rd = 0 are hints)
      return iType(0x13, 0, rd, rd, imm6);
    case 0o11: // C.ADDIW → addiw rd, rd, imm; rd = 0 reserved
      return rd === 0 ? ILLEGAL : iType(0x1b, 0, rd, rd, imm6);
    case 0o12: // C.LI → addi rd, x0, imm
      return iType(0x13, 0, rd, 0, imm6);
    case 0o13:
      if (imm6 === 0) return ILLEGAL;
      if (rd === 2) {
        const imm = bits(c, 12, 1, 9) | bits(c, 6, 1, 4) | bits(c, 5, 1, 6) | bits(c, 3, 2, 7) | bits(c, 2, 1, 5);
        return iType(0x13, 0, 2, 2, signed(imm, 10)); // C.ADDI16SP → addi x2, x2, imm
      }
      return (imm6 << 12) | (rd << 7) | 0x37; // C.LUI → lui rd, imm
    case 0o14:
      return expandArithmetic(c, rs1Short, rdShort, imm6, shamt);
    case 0o15: // C.J → jal x0, imm
      return jType(0, jumpOffset(c));
    case 0o16: // C.BEQZ → beq rs1′, x0, imm
      return bType(0, rs1Short, 0, branchOffset(c));
    case 0o17: // C.BNEZ → bne rs1′, x0, imm
      return bType(1, rs1Short, 0, branchOffset(c));

    // Quadrant 2
    case 0o20: // C.SLLI → slli rd, rd, shamt
      return iType(0x13, 1, rd, rd, shamt);
    case 0o21: // C.FLDSP → fld rd, imm(x2)
      return iType(0x07, 3, rd, 2, doubleSpOffset(c));
    case 0o22: {
      const imm = bits(c, 12, 1, 5) | bits(c, 4, 3, 2) | bits(c, 2, 2, 6);
      // C.LWSP → lw rd, imm(x2); rd = 0 reserved
      return rd === 0 ? ILLEGAL : iType(0x03, 2, rd, 2, imm);
    }
    case 0o23: // C.LDSP → ld rd, imm(x2); rd = 0 reserved
      return rd === 0 ? ILLEGAL : iType(0x03, 3, rd, 2, doubleSpOffset(c));
    case 0o24:
      if (c & 0x1000) {
        if (rs2 !== 0) return rType(0x33, 0, rd, rd, rs2); // C.ADD → add rd, rd, rs2
        return rd === 0 ? 0x0010_0073 : iType(0x67, 0, 1, rd, 0); // C.EBREAK → ebreak; C.JALR → jalr x1, 0(rs1)
      }
      if (rs2 !== 0) return rType(0x33, 0, rd, 0, rs2); // C.MV → add rd, x0, rs2
      return rd === 0 ? ILLEGAL : iType(0x67, 0, 0, rd, 0); // C.JR → jalr x0, 0(rs1); rs1 = 0 reserved
    case 0o25: // C.FSDSP → fsd rs2, imm(x2)
      return sType(0x27, 3, 2, rs2, bits(c, 10, 3, 3) | bits(c, 7, 3, 6));
    case 0o26: // C.SWSP → sw rs2, imm(x2)
      return sType(0x23, 2, 2, rs2, bits(c, 9, 4, 2) | bits(c, 7, 2, 6));
    case 0o27: // C.SDSP → sd rs2, imm(x2)
      return sType(0x23, 3, 2, rs2, bits(c, 10, 3, 3) | bits(c, 7, 3, 6));

    default: // the reserved row of quadrant 0
      return ILLEGAL;
  }
}

/** MISC-ALU, the row of quadrant 1 with funct3 = 4 (unpriv-isa §27.5.2, §27.5.3). */
function expandArithmetic(c: number, rd: number, rs2: number, imm6: number, shamt: number): number {
  switch ((c >> 10) & 3) {
    case 0: // C.SRLI → srli rd′, rd′, shamt
      return iType(0x13, 5, rd, rd, shamt);
    case 1: // C.SRAI → srai rd′, rd′, shamt
      return iType(0x13, 5, rd, rd, 0x400 | shamt);
    case 2: // C.ANDI → andi rd′, rd′, imm
      return iType(0x13, 7, rd, rd, imm6);
  }
  switch (((c >> 10) & 4) | ((c >> 5) & 3)) {
    case 0: // C.SUB
      return rType(0x33, 0, rd, rd, rs2, 0x20);
    case 1: // C.XOR
      return rType(0x33, 4, rd, rd, rs2);
    case 2: // C.OR
      return rType(0x33, 6, rd, rd, rs2);
    case 3: // C.AND
      return rType(0x33, 7, rd, rd, rs2);
    case 4: // C.SUBW
      return rType(0x3b, 0, rd, rd, rs2, 0x20);
    case 5: // C.ADDW
      return rType(0x3b, 0, rd, rd, rs2);
    default: // reserved
      return ILLEGAL;
  }
}

const wordOffset = (c: number): number => bits(c, 10, 3, 3) | bits(c, 6, 1, 2) | bits(c, 5, 1, 6);
const doubleOffset = (c: number): number => bits(c, 10, 3, 3) | bits(c, 5, 2, 6);
const doubleSpOffset = (c: number): number => bits(c, 12, 1, 5) | bits(c, 5, 2, 3) | bits(c, 2, 3, 6);
const branchOffset = (c: number): number =>
  signed(bits(c, 12, 1, 8) | bits(c, 10, 2, 3) | bits(c, 5, 2, 6) | bits(c, 3, 2, 1) | bits(c, 2, 1, 5), 9);
const jumpOffset = (c: number): number =>
  signed(
    bits(c, 12, 1, 11) |
      bits(c, 11, 1, 4) |
      bits(c, 9, 2, 8) |
      bits(c, 8, 1, 10) |
      bits(c, 7, 1, 6) |
      bits(c, 6, 1, 7) |
      bits(c, 3, 3, 1) |
      bits(c, 2, 1, 5),
    12,
  );
