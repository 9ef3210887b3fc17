/**
 * The A extension (unpriv-isa §14) in RAM. Every operation is one sequentially consistent wasm
 * atomic, as in the interpreter (atomic.ts there). What is misaligned, or is not RAM at hand, is
 * for the interpreter, and so are minimum and maximum, of which wasm has none. With a journal an
 * AMO is a compare and exchange, because the entry, which comes first, has the new value.
 */
import { byInstruction } from '../decode.ts';
import { STORE } from '../pmp.ts';
import { A, E, type Emitter, LOAD_RAM, T, U } from './emitter.ts';
import type { Decoded } from './fields.ts';
import { announce, withdraw } from './journal.ts';
import { place, placeOffset } from './memory.ts';
import { atomic, type Code, op } from './wasm.ts';
import { RESERVED, RESERVED_SIZE, RESERVED_VALUE } from './workspace.ts';

type Emit = (e: Emitter, d: Decoded) => void;
type Size = 4 | 8;

const LOW_WORD = 0xffff_ffff;
const alignOf = (size: Size): number => (size === 4 ? 2 : 3);

/** The address onto the stack, as `place` gives it. */
function alignedPlace(e: Emitter, { rs1 }: Decoded, size: Size, kind: typeof LOAD_RAM | typeof STORE): void {
  e.get(rs1)
    .byte(op.i32WrapI64)
    .i32(size - 1)
    .byte(op.i32And);
  e.stepIf();
  place(e, { rs1, imm: 0 }, size, kind);
}

/** By the instruction's size: loads, zero extended, and compares and exchanges. */
const LOADS = { 4: atomic.i64Load32U, 8: atomic.i64Load };
const EXCHANGES = { 4: atomic.i64Rmw32Cmpxchg, 8: atomic.i64RmwCmpxchg };

/** `combine` is what the operation does to the old value and rs2 on the stack. */
const amo =
  (opcode: number, size: Size, combine: readonly number[]): Emit =>
  (e, d) => {
    const { code } = e;
    alignedPlace(e, d, size, STORE);
    if (e.context.journaled) {
      code.tee(E).atomic(LOADS[size], alignOf(size), placeOffset(e)).set(T);
      if (combine.length > 0) code.get(T);
      e.get(d.rs2)
        .ops(...combine)
        .set(U);
      exchange(e, size);
      code.get(T).byte(op.i64Ne);
      e.open(op.if);
      withdraw(e);
      e.step(); // the interpreter tries it again
      e.close();
      code.get(T);
    } else e.get(d.rs2).atomic(opcode, alignOf(size), placeOffset(e));
    if (size === 4) code.byte(op.i64Extend32S);
    e.set(d.rd);
  };

/** Announces U at the place in E, and stores it if T is there; what was there onto the stack. */
function exchange(e: Emitter, size: Size): void {
  const { code } = e;
  const old = (): Code => code.get(T);
  const value = (): Code => code.get(U);
  if (e.context.journaled) announce(e, size, old, value);
  code.get(E).get(T).get(U).atomic(EXCHANGES[size], alignOf(size), placeOffset(e));
}

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
  (size: Size): Emit =>
  (e, d) => {
    alignedPlace(e, d, size, LOAD_RAM);
    e.code.tee(E).atomic(LOADS[size], alignOf(size), placeOffset(e));
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
  (size: Size): Emit =>
  (e, d) => {
    const { code } = e;
    alignedPlace(e, d, size, STORE);
    code.tee(E);
    toGpa(e);
    e.word(op.i64Load, RESERVED).byte(op.i64Eq);
    e.word(op.i64Load, RESERVED_SIZE).i64(size).ops(op.i64Eq, op.i32And).i64(1).set(A);
    e.open(op.if);
    // A = whether what is found is not what LR saw; the upper half would count in 32 bits
    e.word(op.i64Load, RESERVED_VALUE);
    if (size === 4) code.i64(LOW_WORD).byte(op.i64And);
    code.set(T);
    e.get(d.rs2).set(U);
    exchange(e, size);
    code.get(T).ops(op.i64Ne, op.i64ExtendI32U).set(A);
    if (e.context.journaled) {
      code.get(A).byte(op.i32WrapI64);
      e.open(op.if);
      withdraw(e);
      e.close();
    }
    e.close();
    code.i32(0).i64(-1);
    e.endStore(op.i64Store, RESERVED);
    code.get(A);
    e.set(d.rd);
  };

export const ATOMIC = byInstruction<Emit>({
  'lr.w': loadReserved(4),
  'lr.d': loadReserved(8),
  'sc.w': storeConditional(4),
  'sc.d': storeConditional(8),
  'amoswap.w': amo(atomic.i64Rmw32Xchg, 4, []),
  'amoswap.d': amo(atomic.i64RmwXchg, 8, []),
  'amoadd.w': amo(atomic.i64Rmw32Add, 4, [op.i64Add]),
  'amoadd.d': amo(atomic.i64RmwAdd, 8, [op.i64Add]),
  'amoand.w': amo(atomic.i64Rmw32And, 4, [op.i64And]),
  'amoand.d': amo(atomic.i64RmwAnd, 8, [op.i64And]),
  'amoor.w': amo(atomic.i64Rmw32Or, 4, [op.i64Or]),
  'amoor.d': amo(atomic.i64RmwOr, 8, [op.i64Or]),
  'amoxor.w': amo(atomic.i64Rmw32Xor, 4, [op.i64Xor]),
  'amoxor.d': amo(atomic.i64RmwXor, 8, [op.i64Xor]),
});
