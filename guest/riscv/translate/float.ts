/**
 * The instructions of F and D except loads and stores (unpriv-isa §20, §21), where mstatus.FS is
 * Dirty. f registers stay in memory. An operation is done here where it is plain that the result
 * and fflags are what the interpreter gives; else the interpreter's function does it.
 *
 * wasm rounds to nearest, ties to even. Where NX is set already, an inexact result needs nothing
 * more; a result that is normal cannot raise the other flags (float/host-arithmetic.ts). NaNs never
 * come from here: wasm leaves their bits open.
 */
import { byInstruction } from '../decode.ts';
import { DYN, NX, RNE, RTZ } from '../float/format.ts';
import { D0, D1, type Emitter, FLOAT, T } from './emitter.ts';
import type { Decoded } from './fields.ts';
import { floatReadsX, floatWritesX } from './registers.ts';
import { op } from './wasm.ts';
import { F, FFLAGS, FRM, X } from './workspace.ts';

type Emit = (e: Emitter, d: Decoded) => void;

const SMALLEST_NORMAL = 2 ** -1022;
const SMALLEST_NORMAL_SINGLE = 2 ** -126;
const BOX = 0xffff_ffff_0000_0000n;
const SIGN = 1n << 63n;
const SIGN_SINGLE = 0x8000_0000n;
/** A significand whose low 27 bits are 0 has at most 26: a product of two such is exact. */
const LOW_27 = 0x7ff_ffff;
/** A double holds every integer up to it and down to its negative. */
const SMALL_INTEGER = 2 ** 51;

/**
 * `fast` does the operation, or branches to the label it gets; then the interpreter's function does
 * it, or finds that it is illegal.
 */
const withFallback =
  (fast: (e: Emitter, d: Decoded, slow: number) => void): Emit =>
  (e, d) => {
    const done = e.open(op.block);
    const slow = e.open(op.block);
    fast(e, d, slow);
    e.branch(op.br, done);
    e.close();
    byInterpreter(e, d);
    e.close();
  };

/** The interpreter's function, on registers in memory. */
const byInterpreter: Emit = (e, d) => {
  const { name } = d.instruction;
  if (floatReadsX(name)) {
    e.code.i32(0);
    e.get(d.rs1);
    e.endStore(op.i64Store, X + 8 * d.rs1);
  }
  e.code.i32(d.word);
  e.call(FLOAT).byte(op.i32Eqz);
  e.stepIf();
  if (floatWritesX(name) && d.rd !== 0) {
    e.word(op.i64Load, X + 8 * d.rd);
    e.set(d.rd);
  }
};

/** Slow unless the instruction rounds to nearest, ties to even. */
function rounding(e: Emitter, { word }: Decoded, slow: number): void {
  const rm = (word >>> 12) & 7;
  if (rm === RNE) return;
  if (rm !== DYN) {
    e.branch(op.br, slow);
    return;
  }
  e.word(op.i32Load, FRM);
  e.branch(op.brIf, slow);
}

/** NX, as 0 or not 0, onto the stack. */
const inexactAlready = (e: Emitter) => e.word(op.i32Load, FFLAGS).i32(NX).byte(op.i32And);

const double = (e: Emitter, register: number) => e.getFloat(register, op.f64Load);

/** The double in D0 into f[rd]. */
function keepDouble(e: Emitter, rd: number): void {
  e.code.i32(0).get(D0);
  e.endStore(op.f64Store, F + 8 * rd);
}

/** Slow unless |D0| is above `least` and finite. */
function ordinary(e: Emitter, slow: number, least: number): void {
  e.code.get(D0).byte(op.f64Abs).f64(least).byte(op.f64Gt);
  e.code.get(D0).byte(op.f64Abs).f64(Number.POSITIVE_INFINITY).ops(op.f64Lt, op.i32And, op.i32Eqz);
  e.branch(op.brIf, slow);
}

const sum = (subtracts: boolean): Emit =>
  withFallback((e, d, slow) => {
    const { code } = e;
    const second = () => {
      double(e, d.rs2);
      if (subtracts) code.byte(op.f64Neg);
    };
    rounding(e, d, slow);
    double(e, d.rs1);
    second();
    code.byte(op.f64Add).tee(D0).byte(op.f64Abs).f64(Number.POSITIVE_INFINITY).ops(op.f64Lt, op.i32Eqz);
    e.branch(op.brIf, slow);
    inexactAlready(e).byte(op.i32Eqz);
    e.open(op.if);
    // the error of the sum (Knuth's TwoSum): a − (sum − t) + (b − t), where t = sum − a
    code.get(D0);
    double(e, d.rs1).byte(op.f64Sub).set(D1);
    double(e, d.rs1).get(D0).get(D1).ops(op.f64Sub, op.f64Sub);
    second();
    code.get(D1).ops(op.f64Sub, op.f64Add).f64(0).byte(op.f64Ne);
    e.branch(op.brIf, slow);
    e.close();
    keepDouble(e, d.rd);
  });

const product = withFallback((e, d, slow) => {
  rounding(e, d, slow);
  double(e, d.rs1);
  double(e, d.rs2).byte(op.f64Mul).set(D0);
  ordinary(e, slow, SMALLEST_NORMAL);
  inexactAlready(e).byte(op.i32Eqz);
  e.open(op.if);
  e.getFloat(d.rs1).i64(LOW_27).byte(op.i64And);
  e.getFloat(d.rs2).i64(LOW_27).ops(op.i64And, op.i64Or, op.i64Eqz, op.i32Eqz);
  e.branch(op.brIf, slow);
  e.close();
  keepDouble(e, d.rd);
});

/** A quotient or root: NX must be set already. */
const ifInexact = (operation: (e: Emitter, d: Decoded) => void): Emit =>
  withFallback((e, d, slow) => {
    rounding(e, d, slow);
    inexactAlready(e).byte(op.i32Eqz);
    e.branch(op.brIf, slow);
    operation(e, d);
    e.code.set(D0);
    ordinary(e, slow, SMALLEST_NORMAL);
    keepDouble(e, d.rd);
  });

/** Slow unless f[register] is a single in its box. */
function boxed(e: Emitter, register: number, slow: number): void {
  e.word(op.i32Load, F + 8 * register + 4)
    .i32(-1)
    .byte(op.i32Ne);
  e.branch(op.brIf, slow);
}

const single = (e: Emitter, register: number) => e.getFloat(register, op.f32Load);

function keepBox(e: Emitter, rd: number): void {
  e.code.i32(0).i32(-1);
  e.endStore(op.i32Store, F + 8 * rd + 4);
}

/** The operation on singles leaves a single, as a double in D0. */
const singles = (opcode: number, operands: 1 | 2): Emit =>
  withFallback((e, d, slow) => {
    rounding(e, d, slow);
    inexactAlready(e).byte(op.i32Eqz);
    e.branch(op.brIf, slow);
    boxed(e, d.rs1, slow);
    if (operands === 2) boxed(e, d.rs2, slow);
    single(e, d.rs1);
    if (operands === 2) single(e, d.rs2);
    e.code.ops(opcode, op.f64PromoteF32).set(D0);
    ordinary(e, slow, SMALLEST_NORMAL_SINGLE);
    e.code.i32(0).get(D0).byte(op.f32DemoteF64);
    e.endStore(op.f32Store, F + 8 * d.rd);
    keepBox(e, d.rd);
  });

/** x[rd] ← whether `opcode` holds, of numbers. */
const compare = (opcode: number, isDouble: boolean): Emit =>
  withFallback((e, d, slow) => {
    const get = isDouble ? double : single;
    for (const register of [d.rs1, d.rs2]) {
      if (!isDouble) boxed(e, register, slow);
      get(e, register);
      get(e, register).ops(isDouble ? op.f64Ne : op.f32Ne);
      e.branch(op.brIf, slow);
    }
    get(e, d.rs1);
    get(e, d.rs2).ops(opcode, op.i64ExtendI32U);
    e.set(d.rd);
  });

/** The lesser or greater of two doubles that differ. */
const choice = (opcode: number): Emit =>
  withFallback((e, d, slow) => {
    double(e, d.rs1);
    double(e, d.rs2).byte(op.f64Lt);
    double(e, d.rs1);
    double(e, d.rs2).ops(op.f64Gt, op.i32Or, op.i32Eqz); // equal, or a NaN
    e.branch(op.brIf, slow);
    double(e, d.rs1);
    double(e, d.rs2);
    double(e, d.rs1);
    double(e, d.rs2).ops(opcode, op.select).set(D0);
    keepDouble(e, d.rd);
  });

/** The magnitude of rs1 with a sign of both (unpriv-isa §20.7). */
function signs(e: Emitter, { instruction, rs1, rs2 }: Decoded, sign: bigint): void {
  const { name } = instruction;
  e.getFloat(rs1);
  if (!name.startsWith('fsgnjx')) e.code.i64Bits(BigInt.asUintN(64, ~sign)).byte(op.i64And);
  e.getFloat(rs2);
  if (name.startsWith('fsgnjn')) e.code.i64(-1).byte(op.i64Xor);
  e.code.i64Bits(sign).ops(op.i64And, name.startsWith('fsgnjx') ? op.i64Xor : op.i64Or);
}

const signOfDouble: Emit = (e, d) => {
  e.code.i32(0);
  signs(e, d, SIGN);
  e.endStore(op.i64Store, F + 8 * d.rd);
};

const signOfSingle = withFallback((e, d, slow) => {
  boxed(e, d.rs1, slow);
  boxed(e, d.rs2, slow);
  e.code.i32(0);
  signs(e, d, SIGN_SINGLE);
  e.endStore(op.i64Store, F + 8 * d.rd);
});

/** f[rd] ← an integer of x[rs1] that a double holds exactly. */
const fromWord =
  (opcode: number): Emit =>
  (e, d) => {
    e.code.i32(0);
    e.get(d.rs1).ops(op.i32WrapI64, opcode);
    e.endStore(op.f64Store, F + 8 * d.rd);
  };

const fromLong = (signed: boolean): Emit =>
  withFallback((e, d, slow) => {
    e.get(d.rs1);
    if (signed) e.code.i64(SMALL_INTEGER).byte(op.i64Add);
    e.code.i64(signed ? 2 * SMALL_INTEGER : SMALL_INTEGER).byte(op.i64GtU);
    e.branch(op.brIf, slow);
    e.code.i32(0);
    e.get(d.rs1).byte(op.f64ConvertI64S);
    e.endStore(op.f64Store, F + 8 * d.rd);
  });

/** x[rd] ← a double towards 0, as C converts; exact, or NX is set. */
const towardsZero = (wide: boolean): Emit =>
  withFallback((e, d, slow) => {
    const { code } = e;
    if (((d.word >>> 12) & 7) !== RTZ) {
      e.branch(op.br, slow);
      return;
    }
    double(e, d.rs1)
      .tee(D0)
      .byte(op.f64Abs)
      .f64(wide ? 2 ** 63 : 2 ** 31)
      .ops(op.f64Lt, op.i32Eqz);
    e.branch(op.brIf, slow);
    code.get(D0).byte(wide ? op.i64TruncF64S : op.i32TruncF64S);
    if (!wide) code.byte(op.i64ExtendI32S);
    code.tee(T).byte(op.f64ConvertI64S).get(D0).byte(op.f64Eq);
    inexactAlready(e).ops(op.i32Or, op.i32Eqz);
    e.branch(op.brIf, slow);
    code.get(T);
    e.set(d.rd);
  });

const toDouble = withFallback((e, d, slow) => {
  boxed(e, d.rs1, slow);
  single(e, d.rs1);
  single(e, d.rs1).byte(op.f32Ne);
  e.branch(op.brIf, slow);
  single(e, d.rs1).byte(op.f64PromoteF32).set(D0);
  keepDouble(e, d.rd);
});

const toSingle = withFallback((e, d, slow) => {
  rounding(e, d, slow);
  double(e, d.rs1).ops(op.f32DemoteF64, op.f64PromoteF32).set(D0);
  // exact, or normal with NX set
  e.code.get(D0);
  double(e, d.rs1).ops(op.f64Ne);
  e.open(op.if);
  inexactAlready(e).byte(op.i32Eqz);
  e.branch(op.brIf, slow);
  ordinary(e, slow, SMALLEST_NORMAL_SINGLE);
  e.close();
  e.code.i32(0).get(D0).byte(op.f32DemoteF64);
  e.endStore(op.f32Store, F + 8 * d.rd);
  keepBox(e, d.rd);
});

const suffixed = (suffix: string, each: Readonly<Record<string, Emit>>): Readonly<Record<string, Emit>> =>
  Object.fromEntries(Object.entries(each).map(([name, emit]) => [`${name}.${suffix}`, emit]));

/** What is always the interpreter's. */
const interpreted = {
  fmadd: byInterpreter,
  fmsub: byInterpreter,
  fnmadd: byInterpreter,
  fnmsub: byInterpreter,
  fclass: byInterpreter,
  'fcvt.wu': byInterpreter,
  'fcvt.lu': byInterpreter,
};

export const FLOAT_ARITHMETIC = byInstruction<Emit>({
  ...suffixed('d', {
    ...interpreted,
    fadd: sum(false),
    fsub: sum(true),
    fmul: product,
    fdiv: ifInexact((e, d) => {
      double(e, d.rs1);
      double(e, d.rs2).byte(op.f64Div);
    }),
    fsqrt: ifInexact((e, d) => double(e, d.rs1).byte(op.f64Sqrt)),
    fsgnj: signOfDouble,
    fsgnjn: signOfDouble,
    fsgnjx: signOfDouble,
    fmin: choice(op.f64Lt),
    fmax: choice(op.f64Gt),
    feq: compare(op.f64Eq, true),
    flt: compare(op.f64Lt, true),
    fle: compare(op.f64Le, true),
    'fcvt.w': towardsZero(false),
    'fcvt.l': towardsZero(true),
  }),
  ...suffixed('s', {
    ...interpreted,
    fadd: singles(op.f32Add, 2),
    fsub: singles(op.f32Sub, 2),
    fmul: singles(op.f32Mul, 2),
    fdiv: singles(op.f32Div, 2),
    fsqrt: singles(op.f32Sqrt, 1),
    fsgnj: signOfSingle,
    fsgnjn: signOfSingle,
    fsgnjx: signOfSingle,
    fmin: byInterpreter,
    fmax: byInterpreter,
    feq: compare(op.f32Eq, false),
    flt: compare(op.f32Lt, false),
    fle: compare(op.f32Le, false),
    'fcvt.w': byInterpreter,
    'fcvt.l': byInterpreter,
  }),
  'fcvt.d.w': fromWord(op.f64ConvertI32S),
  'fcvt.d.wu': fromWord(op.f64ConvertI32U),
  'fcvt.d.l': fromLong(true),
  'fcvt.d.lu': fromLong(false),
  'fcvt.s.w': byInterpreter,
  'fcvt.s.wu': byInterpreter,
  'fcvt.s.l': byInterpreter,
  'fcvt.s.lu': byInterpreter,
  'fcvt.d.s': toDouble,
  'fcvt.s.d': toSingle,
  'fmv.x.d': (e, d) => {
    e.getFloat(d.rs1);
    e.set(d.rd);
  },
  'fmv.x.w': (e, d) => {
    e.getFloat(d.rs1, op.i64Load32S);
    e.set(d.rd);
  },
  'fmv.d.x': (e, d) => {
    e.code.i32(0);
    e.get(d.rs1);
    e.endStore(op.i64Store, F + 8 * d.rd);
  },
  'fmv.w.x': (e, d) => {
    e.code.i32(0);
    e.get(d.rs1).i64Bits(BOX).byte(op.i64Or);
    e.endStore(op.i64Store, F + 8 * d.rd);
  },
});
