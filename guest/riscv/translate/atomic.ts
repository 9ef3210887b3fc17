/**
 * The A extension (unpriv-isa §14) in RAM. Every operation is one sequentially consistent wasm
 * atomic, as in the interpreter (atomic.ts there). What is misaligned, or is not RAM at hand, is
 * for the interpreter, and so are minimum and maximum, of which wasm has none. With a journal every
 * operation that stores is: its entry comes before it, and may have to be withdrawn.
 */
import { byInstruction } from '../decode.ts';
import { LOAD, STORE } from '../pmp.ts';
import { A, E, type Emitter, T, U } from './emitter.ts';
import type { Decoded } from './fields.ts';
import { place, placeOffset } from './memory.ts';
import { atomic, op } from './wasm.ts';
import { RESERVED, RESERVED_SIZE, RESERVED_VALUE } from './workspace.ts';

type Emit = (e: Emitter, d: Decoded) => void;
type Size = 4 | 8;

const LOW_WORD = 0xffff_ffff;
const alignOf = (size: Size): number => (size === 4 ? 2 : 3);

/** The address onto the stack, as `place` gives it. */
function alignedPlace(e: Emitter, { rs1 }: Decoded, size: Size, kind: typeof LOAD | typeof STORE): void {
  e.get(rs1)
    .byte(op.i32WrapI64)
    .i32(size - 1)
    .byte(op.i32And);
  e.stepIf();
  place(e, { rs1, imm: 0 }, size, kind);
}

const amo =
  (opcode: number, size: Size): Emit =>
  (e, d) => {
    if (e.context.journaled) return e.step();
    alignedPlace(e, d, size, STORE);
    e.get(d.rs2).atomic(opcode, alignOf(size), placeOffset(e));
    if (size === 4) e.code.byte(op.i64Extend32S);
    e.set(d.rd);
  };

/** The gpa of an address that is on the stack: what a reservation is known by. */
function toGpa(e: Emitter): void {
  const { base, offset } = e.places.ram;
  const inMemory = e.context.paged ? offset : 0;
  e.code
    .byte(op.i64ExtendI32U)
    .i64(base - inMemory)
    .byte(op.i64Add);
}

const loadReserved =
  (opcode: number, size: Size): Emit =>
  (e, d) => {
    alignedPlace(e, d, size, LOAD);
    e.code.tee(E).atomic(opcode, alignOf(size), placeOffset(e));
    if (size === 4) e.code.byte(op.i64Extend32S);
    e.code.set(T).i32(0).get(E);
    toGpa(e);
    e.endStore(op.i64Store, RESERVED);
    e.code.i32(0).get(T);
    e.endStore(op.i64Store, RESERVED_VALUE);
    e.code.i32(0).i64(size);
    e.endStore(op.i64Store, RESERVED_SIZE);
    e.code.get(T);
    e.set(d.rd);
  };

const storeConditional =
  (opcode: number, size: Size): Emit =>
  (e, d) => {
    const { code } = e;
    if (e.context.journaled) return e.step();
    alignedPlace(e, d, size, STORE);
    code.tee(E);
    toGpa(e);
    e.word(op.i64Load, RESERVED).byte(op.i64Eq);
    e.word(op.i64Load, RESERVED_SIZE).i64(size).ops(op.i64Eq, op.i32And).i64(1).set(U);
    e.open(op.if);
    // U = whether what is found is not what LR saw; the upper half would count in 32 bits
    e.word(op.i64Load, RESERVED_VALUE);
    if (size === 4) code.i64(LOW_WORD).byte(op.i64And);
    code.set(A).get(E).get(A);
    e.get(d.rs2).atomic(opcode, alignOf(size), placeOffset(e));
    code.get(A).ops(op.i64Ne, op.i64ExtendI32U).set(U);
    e.close();
    code.i32(0).i64(-1);
    e.endStore(op.i64Store, RESERVED);
    code.get(U);
    e.set(d.rd);
  };

export const ATOMIC = byInstruction<Emit>({
  'lr.w': loadReserved(atomic.i64Load32U, 4),
  'lr.d': loadReserved(atomic.i64Load, 8),
  'sc.w': storeConditional(atomic.i64Rmw32Cmpxchg, 4),
  'sc.d': storeConditional(atomic.i64RmwCmpxchg, 8),
  'amoswap.w': amo(atomic.i64Rmw32Xchg, 4),
  'amoswap.d': amo(atomic.i64RmwXchg, 8),
  'amoadd.w': amo(atomic.i64Rmw32Add, 4),
  'amoadd.d': amo(atomic.i64RmwAdd, 8),
  'amoand.w': amo(atomic.i64Rmw32And, 4),
  'amoand.d': amo(atomic.i64RmwAnd, 8),
  'amoor.w': amo(atomic.i64Rmw32Or, 4),
  'amoor.d': amo(atomic.i64RmwOr, 8),
  'amoxor.w': amo(atomic.i64Rmw32Xor, 4),
  'amoxor.d': amo(atomic.i64RmwXor, 8),
});
