/**
 * The instructions of F and D except loads and stores (unpriv-isa §20, §21). Each operation takes
 * the host's way where that answers, and else the exact one.
 */
import type { Core } from './core.ts';
import { byInstruction, decode } from './decode.ts';
import * as exact from './float/arithmetic.ts';
import { classify, equal, less, lessOrEqual, maximum, minimum } from './float/compare.ts';
import { convertFormat, fromInteger, type IntegerType, toInteger } from './float/convert.ts';
import { DOUBLE, DYN, type Environment, type Format, RMM, type RoundingMode, SINGLE } from './float/format.ts';
import * as host from './float/host-arithmetic.ts';
import type { FloatRegisters } from './float/registers.ts';

type Operation = (core: Core, insn: number) => void;

const rd = (insn: number): number => (insn >>> 7) & 31;
const rs1 = (insn: number): number => (insn >>> 15) & 31;
const rs2 = (insn: number): number => (insn >>> 20) & 31;
const rs3 = (insn: number): number => insn >>> 27;

/** f[rd] ← f[rs1] op f[rs2] of doubles. */
const doubles =
  (byHost: (env: Environment, a: number, b: number) => number, exactly: typeof exact.add): Operation =>
  ({ float }, insn) => {
    const result = byHost(float, float.doubles[rs1(insn)]!, float.doubles[rs2(insn)]!);
    if (!Number.isNaN(result)) float.doubles[rd(insn)] = result;
    else binary(float, DOUBLE, insn, exactly);
  };

const singles =
  (byHost: (env: Environment, a: number, b: number) => number, exactly: typeof exact.add): Operation =>
  ({ float }, insn) => {
    const result = byHost(float, float.readSingle(rs1(insn)), float.readSingle(rs2(insn)));
    if (!Number.isNaN(result)) float.writeSingle(rd(insn), result);
    else binary(float, SINGLE, insn, exactly);
  };

function binary(float: FloatRegisters, format: Format, insn: number, operation: typeof exact.add): void {
  const result = operation(format, float.read(format, rs1(insn)), float.read(format, rs2(insn)), float);
  float.write(format, rd(insn), result);
}

/** FMADD, FMSUB, FNMSUB, FNMADD: which of product and addend is negated (unpriv-isa §20.6). */
const fused = (format: Format, negated: exact.Signs): Operation => {
  const product = negated.product ? -1 : 1;
  const addend = negated.addend ? -1 : 1;
  return ({ float }, insn) => {
    if (format === DOUBLE) {
      const { doubles: f } = float;
      const result = host.fusedDouble(float, product * f[rs1(insn)]!, f[rs2(insn)]!, addend * f[rs3(insn)]!);
      if (!Number.isNaN(result)) {
        f[rd(insn)] = result;
        return;
      }
    } else {
      const [a, b, c] = [float.readSingle(rs1(insn)), float.readSingle(rs2(insn)), float.readSingle(rs3(insn))];
      const result = host.fusedSingle(float, product * a, b, addend * c);
      if (!Number.isNaN(result)) {
        float.writeSingle(rd(insn), result);
        return;
      }
    }
    const operands = [
      float.read(format, rs1(insn)),
      float.read(format, rs2(insn)),
      float.read(format, rs3(insn)),
    ] as const;
    float.write(format, rd(insn), exact.fusedMultiplyAdd(format, operands, negated, float));
  };
};

/** FSGNJ, FSGNJN, FSGNJX: the magnitude of rs1 with a sign of rs1's and rs2's. */
const sign =
  (format: Format, of: (a: bigint, b: bigint) => bigint): Operation =>
  ({ float }, insn) => {
    const a = float.read(format, rs1(insn));
    const magnitude = a & (format.signBit - 1n);
    float.write(format, rd(insn), magnitude | (of(a, float.read(format, rs2(insn))) & format.signBit));
  };

/** x[rd] ← a truth or number about operands in f. */
const compare =
  (format: Format, holds: typeof equal): Operation =>
  ({ float, x }, insn) => {
    x[rd(insn)] = holds(format, float.read(format, rs1(insn)), float.read(format, rs2(insn)), float) ? 1n : 0n;
  };

/** x[rd] ← f[rs1] as an integer; one of 32 bits is sign extended, an unsigned one too. */
const toX =
  (format: Format, type: IntegerType): Operation =>
  ({ float, x }, insn) => {
    x[rd(insn)] = BigInt.asIntN(type.bits, toInteger(format, type, float.read(format, rs1(insn)), float));
  };

const fromX =
  (format: Format, { bits, signed }: IntegerType): Operation =>
  ({ float, x }, insn) => {
    const value = x[rs1(insn)]!;
    const integer = signed ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value);
    float.write(format, rd(insn), fromInteger(format, integer, float));
  };

const convert =
  (from: Format, to: Format): Operation =>
  ({ float }, insn) => {
    float.write(to, rd(insn), convertFormat(from, to, float.read(from, rs1(insn)), float));
  };

const W: IntegerType = { bits: 32, signed: true };
const WU: IntegerType = { bits: 32, signed: false };
const L: IntegerType = { bits: 64, signed: true };
const LU: IntegerType = { bits: 64, signed: false };

/** What both formats have, under the names of instructions without their suffix. */
const common = (format: Format): Readonly<Record<string, Operation>> => ({
  fmadd: fused(format, { product: false, addend: false }),
  fmsub: fused(format, { product: false, addend: true }),
  fnmsub: fused(format, { product: true, addend: false }),
  fnmadd: fused(format, { product: true, addend: true }),
  fsqrt: ({ float }, insn) => {
    float.write(format, rd(insn), exact.squareRoot(format, float.read(format, rs1(insn)), float));
  },
  fsgnj: sign(format, (_, b) => b),
  fsgnjn: sign(format, (_, b) => ~b),
  fsgnjx: sign(format, (a, b) => a ^ b),
  fmin: ({ float }, insn) => binary(float, format, insn, minimum),
  fmax: ({ float }, insn) => binary(float, format, insn, maximum),
  fle: compare(format, lessOrEqual),
  flt: compare(format, less),
  feq: compare(format, equal),
  'fcvt.w': toX(format, W),
  'fcvt.wu': toX(format, WU),
  'fcvt.l': toX(format, L),
  'fcvt.lu': toX(format, LU),
  fclass: ({ float, x }, insn) => {
    x[rd(insn)] = classify(format, float.read(format, rs1(insn)));
  },
});

const withSuffix = (suffix: string, operations: Readonly<Record<string, Operation>>): Record<string, Operation> =>
  Object.fromEntries(Object.entries(operations).map(([name, operation]) => [`${name}.${suffix}`, operation]));

const OPERATIONS = byInstruction<Operation>({
  ...withSuffix('s', common(SINGLE)),
  ...withSuffix('d', common(DOUBLE)),
  'fadd.s': singles(host.addSingle, exact.add),
  'fsub.s': singles((env, a, b) => host.addSingle(env, a, -b), exact.subtract),
  'fmul.s': singles(host.multiplySingle, exact.multiply),
  'fdiv.s': singles(host.divideSingle, exact.divide),
  'fadd.d': doubles(host.addDouble, exact.add),
  'fsub.d': doubles((env, a, b) => host.addDouble(env, a, -b), exact.subtract),
  'fmul.d': doubles(host.multiplyDouble, exact.multiply),
  'fdiv.d': doubles(host.divideDouble, exact.divide),
  'fcvt.s.w': fromX(SINGLE, W),
  'fcvt.s.wu': fromX(SINGLE, WU),
  'fcvt.s.l': fromX(SINGLE, L),
  'fcvt.s.lu': fromX(SINGLE, LU),
  'fcvt.d.w': fromX(DOUBLE, W),
  'fcvt.d.wu': fromX(DOUBLE, WU),
  'fcvt.d.l': fromX(DOUBLE, L),
  'fcvt.d.lu': fromX(DOUBLE, LU),
  'fcvt.s.d': convert(DOUBLE, SINGLE),
  'fcvt.d.s': convert(SINGLE, DOUBLE),
  // the bits as they are, boxed or not
  'fmv.x.w': ({ float, x }, insn) => {
    x[rd(insn)] = BigInt(float.halves[2 * rs1(insn)]!);
  },
  'fmv.w.x': ({ float, x }, insn) => float.write(SINGLE, rd(insn), BigInt.asUintN(32, x[rs1(insn)]!)),
  'fmv.x.d': ({ float, x }, insn) => {
    x[rd(insn)] = float.bits[rs1(insn)]!;
  },
  'fmv.d.x': ({ float, x }, insn) => float.write(DOUBLE, rd(insn), x[rs1(insn)]!),
});

/**
 * Executes an instruction of opcode OP-FP, MADD, MSUB, NMSUB or NMADD. False if there is none such,
 * or if its rounding mode is reserved (unpriv-isa §20.2).
 */
export function executeFloat(core: Core, insn: number): boolean {
  const instruction = decode(insn);
  const operation = instruction && OPERATIONS[instruction.id];
  if (!operation) return false;
  if (instruction.format === 'Rrm' || instruction.format === 'unaryrm' || instruction.format === 'fma') {
    const rm = (insn >>> 12) & 7;
    const mode = rm === DYN ? core.float.frm : rm;
    if (mode > RMM) return false;
    core.float.mode = mode as RoundingMode;
  }
  operation(core, insn);
  return true;
}
