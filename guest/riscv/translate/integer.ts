/**
 * Integer instructions on registers (unpriv-isa §2.4, §4.2, §13, §29): each leaves x[rd] on the
 * stack.
 */
import { byInstruction } from '../decode.ts';
import { type Emitter, T, U, V } from './emitter.ts';
import type { Decoded } from './fields.ts';
import { I32, I64, op } from './wasm.ts';

type Emit = (e: Emitter, d: Decoded) => void;

const LOW_WORD = 0xffff_ffff;

/** Both operands of 64 bits; `suffix` makes the result one, if an operation does not. */
const registers =
  (...opcodes: readonly number[]): Emit =>
  (e, { rs1, rs2 }) => {
    e.get(rs1);
    e.get(rs2).ops(...opcodes);
  };

const immediate =
  (...opcodes: readonly number[]): Emit =>
  (e, { rs1, imm }) => {
    e.get(rs1);
    e.immediate(imm).ops(...opcodes);
  };

/** Operands of 32 bits; the result is sign extended. */
const words =
  (opcode: number): Emit =>
  (e, { rs1, rs2 }) => {
    e.get(rs1).byte(op.i32WrapI64);
    e.get(rs2).ops(op.i32WrapI64, opcode, op.i64ExtendI32S);
  };

const wordImmediate =
  (opcode: number): Emit =>
  (e, { rs1, imm }) => {
    e.get(rs1).byte(op.i32WrapI64);
    e.immediate32(imm).ops(opcode, op.i64ExtendI32S);
  };

const unary =
  (...opcodes: readonly number[]): Emit =>
  (e, { rs1 }) => {
    e.get(rs1).ops(...opcodes);
  };

/** ((rs1, zero extended from a word if so) << n) + rs2 */
const shiftAdd =
  (n: number, fromWord: boolean): Emit =>
  (e, { rs1, rs2 }) => {
    e.get(rs1);
    if (fromWord) e.code.i64(LOW_WORD).byte(op.i64And);
    if (n > 0) e.code.i64(n).byte(op.i64Shl);
    e.get(rs2).byte(op.i64Add);
  };

/** rs1 op ~rs2 */
const inverted =
  (opcode: number): Emit =>
  (e, { rs1, rs2 }) => {
    e.get(rs1);
    e.get(rs2).i64(-1).ops(op.i64Xor, opcode);
  };

/** rs1 where `opcode` holds of both, else rs2. */
const choice =
  (opcode: number): Emit =>
  (e, { rs1, rs2 }) => {
    e.get(rs1);
    e.get(rs2);
    e.get(rs1);
    e.get(rs2).ops(opcode, op.select);
  };

/** The bit that rs2 or the immediate names. */
const bit = (e: Emitter, { rs2, imm, instruction }: Decoded): void => {
  e.code.i64(1);
  if (instruction.format === 'R') e.get(rs2);
  else e.immediate(imm);
  e.code.byte(op.i64Shl);
};

const singleBit =
  (...opcodes: readonly number[]): Emit =>
  (e, d) => {
    e.get(d.rs1);
    bit(e, d);
    e.code.ops(...opcodes);
  };

const extractBit: Emit = (e, d) => {
  e.get(d.rs1);
  if (d.instruction.format === 'R') e.get(d.rs2);
  else e.immediate(d.imm);
  e.code.byte(op.i64ShrU).i64(1).byte(op.i64And);
};

/** The upper half of the unsigned product, from four products of 32-bit halves. */
const upperProduct: Emit = (e, { rs1, rs2 }) => {
  const low = (register: number) => e.get(register).i64(LOW_WORD).byte(op.i64And);
  const high = (register: number) => e.get(register).i64(32).byte(op.i64ShrU);
  low(rs1).set(T);
  low(rs2).set(U);
  // V = high(rs1) × low(rs2) + carry of the lowest product
  high(rs1).get(U).byte(op.i64Mul).get(T).get(U).byte(op.i64Mul).i64(32).ops(op.i64ShrU, op.i64Add).set(V);
  // T = low(rs1) × high(rs2) + low half of V
  high(rs2).get(T).byte(op.i64Mul).get(V).i64(LOW_WORD).ops(op.i64And, op.i64Add).set(T);
  high(rs1);
  high(rs2).byte(op.i64Mul);
  e.code.get(V).i64(32).ops(op.i64ShrU, op.i64Add);
  e.code.get(T).i64(32).ops(op.i64ShrU, op.i64Add);
};

/** Less `of`, where `sign` is negative. */
const correct = (e: Emitter, sign: number, of: number): void => {
  e.get(sign).i64(63).byte(op.i64ShrS);
  e.get(of).ops(op.i64And, op.i64Sub);
};

const operand =
  (wide: boolean) =>
  (e: Emitter, register: number): void => {
    e.get(register);
    if (!wide) e.code.byte(op.i32WrapI64);
  };

/** Division by zero and overflow do not trap (unpriv-isa §13.2, table 11). */
const divide = (wide: boolean, signed: boolean, remainder: boolean): Emit => {
  const type = wide ? I64 : I32;
  const get = operand(wide);
  const constant = (e: Emitter, value: number) => (wide ? e.code.i64(value) : e.code.i32(value));
  const [eqz, eq, sub] = wide ? [op.i64Eqz, op.i64Eq, op.i64Sub] : [op.i32Eqz, op.i32Eq, op.i32Sub];
  const at = (signed ? 0 : 1) + (remainder ? 2 : 0);
  const opcode = (wide ? op.i64DivS : op.i32DivS) + at;
  return (e, { rs1, rs2 }) => {
    get(e, rs2);
    e.code.byte(eqz);
    e.open(op.if, type);
    if (remainder) get(e, rs1);
    else constant(e, -1);
    e.else();
    if (signed && !remainder) {
      get(e, rs2);
      constant(e, -1).byte(eq);
      e.open(op.if, type);
      constant(e, 0);
      get(e, rs1);
      e.code.byte(sub);
      e.else();
    }
    get(e, rs1);
    get(e, rs2);
    e.code.byte(opcode);
    if (signed && !remainder) e.close();
    e.close();
    if (!wide) e.code.byte(op.i64ExtendI32S);
  };
};

/** Every byte that is not zero becomes 0xff: its bits meet in the lowest one. */
const orcb: Emit = (e, { rs1 }) => {
  e.get(rs1).set(T);
  for (const [shift, mask] of [
    [1, 0x7f7f_7f7f_7f7f_7f7fn],
    [2, 0x3f3f_3f3f_3f3f_3f3fn],
    [4, 0x0f0f_0f0f_0f0f_0f0fn],
  ] as const) {
    e.code.get(T).get(T).i64(shift).byte(op.i64ShrU).i64Bits(mask).ops(op.i64And, op.i64Or).set(T);
  }
  e.code.get(T).i64Bits(0x0101_0101_0101_0101n).byte(op.i64And).i64(255).byte(op.i64Mul);
};

/** Neighbours change places: bytes, then pairs, then halves. */
const rev8: Emit = (e, { rs1 }) => {
  e.get(rs1).set(T);
  for (const [shift, mask] of [
    [8, 0x00ff_00ff_00ff_00ffn],
    [16, 0x0000_ffff_0000_ffffn],
  ] as const) {
    e.code.get(T).i64Bits(mask).byte(op.i64And).i64(shift).byte(op.i64Shl);
    e.code.get(T).i64(shift).byte(op.i64ShrU).i64Bits(mask).ops(op.i64And, op.i64Or).set(T);
  }
  e.code.get(T).i64(32).byte(op.i64Rotl);
};

const TRUTH = op.i64ExtendI32U;

export const INTEGER = byInstruction<Emit>({
  lui: (e, { imm }) => e.immediate(imm),
  auipc: (e, { pc, imm }) => e.fromPc(pc, imm),
  addi: immediate(op.i64Add),
  slti: immediate(op.i64LtS, TRUTH),
  sltiu: immediate(op.i64LtU, TRUTH),
  xori: immediate(op.i64Xor),
  ori: immediate(op.i64Or),
  andi: immediate(op.i64And),
  slli: immediate(op.i64Shl),
  srli: immediate(op.i64ShrU),
  srai: immediate(op.i64ShrS),
  addiw: immediate(op.i64Add, op.i64Extend32S),
  slliw: wordImmediate(op.i32Shl),
  srliw: wordImmediate(op.i32ShrU),
  sraiw: wordImmediate(op.i32ShrS),
  add: registers(op.i64Add),
  sub: registers(op.i64Sub),
  // shift counts are taken modulo 64 on both sides
  sll: registers(op.i64Shl),
  slt: registers(op.i64LtS, TRUTH),
  sltu: registers(op.i64LtU, TRUTH),
  xor: registers(op.i64Xor),
  srl: registers(op.i64ShrU),
  sra: registers(op.i64ShrS),
  or: registers(op.i64Or),
  and: registers(op.i64And),
  addw: registers(op.i64Add, op.i64Extend32S),
  subw: registers(op.i64Sub, op.i64Extend32S),
  sllw: words(op.i32Shl),
  srlw: words(op.i32ShrU),
  sraw: words(op.i32ShrS),

  mul: registers(op.i64Mul),
  mulw: registers(op.i64Mul, op.i64Extend32S),
  mulhu: upperProduct,
  mulh: (e, d) => {
    upperProduct(e, d);
    correct(e, d.rs1, d.rs2);
    correct(e, d.rs2, d.rs1);
  },
  mulhsu: (e, d) => {
    upperProduct(e, d);
    correct(e, d.rs1, d.rs2);
  },
  div: divide(true, true, false),
  divu: divide(true, false, false),
  rem: divide(true, true, true),
  remu: divide(true, false, true),
  divw: divide(false, true, false),
  divuw: divide(false, false, false),
  remw: divide(false, true, true),
  remuw: divide(false, false, true),

  sh1add: shiftAdd(1, false),
  sh2add: shiftAdd(2, false),
  sh3add: shiftAdd(3, false),
  'add.uw': shiftAdd(0, true),
  'sh1add.uw': shiftAdd(1, true),
  'sh2add.uw': shiftAdd(2, true),
  'sh3add.uw': shiftAdd(3, true),
  'slli.uw': (e, { rs1, imm }) => {
    e.get(rs1).i64(LOW_WORD).byte(op.i64And);
    e.immediate(imm).byte(op.i64Shl);
  },

  andn: inverted(op.i64And),
  orn: inverted(op.i64Or),
  xnor: inverted(op.i64Xor),
  clz: unary(op.i64Clz),
  clzw: unary(op.i32WrapI64, op.i32Clz, op.i64ExtendI32U),
  ctz: unary(op.i64Ctz),
  ctzw: unary(op.i32WrapI64, op.i32Ctz, op.i64ExtendI32U),
  cpop: unary(op.i64Popcnt),
  cpopw: unary(op.i32WrapI64, op.i32Popcnt, op.i64ExtendI32U),
  'sext.b': unary(op.i64Extend8S),
  'sext.h': unary(op.i64Extend16S),
  'zext.h': (e, { rs1 }) => e.get(rs1).i64(0xffff).byte(op.i64And),
  max: choice(op.i64GtS),
  maxu: choice(op.i64GtU),
  min: choice(op.i64LtS),
  minu: choice(op.i64LtU),
  rol: registers(op.i64Rotl),
  rolw: words(op.i32Rotl),
  ror: registers(op.i64Rotr),
  rorw: words(op.i32Rotr),
  rori: immediate(op.i64Rotr),
  roriw: wordImmediate(op.i32Rotr),
  'orc.b': orcb,
  rev8,

  bclr: (e, d) => {
    e.get(d.rs1);
    bit(e, d);
    e.code.i64(-1).ops(op.i64Xor, op.i64And);
  },
  bclri: (e, d) => {
    e.get(d.rs1);
    bit(e, d);
    e.code.i64(-1).ops(op.i64Xor, op.i64And);
  },
  bext: extractBit,
  bexti: extractBit,
  binv: singleBit(op.i64Xor),
  binvi: singleBit(op.i64Xor),
  bset: singleBit(op.i64Or),
  bseti: singleBit(op.i64Or),
});

/** The condition of a branch, as 0 or 1 on the stack. */
export const CONDITION = byInstruction<Emit>({
  beq: registers(op.i64Eq),
  bne: registers(op.i64Ne),
  blt: registers(op.i64LtS),
  bge: registers(op.i64GeS),
  bltu: registers(op.i64LtU),
  bgeu: registers(op.i64GeU),
});
