/**
 * Loads and stores of RAM (unpriv-isa §2.6, §4.3; §20.5, §21.3 for those of F and D). For a page
 * that is not at hand `fill` (services.ts) is called. It makes loads from devices, too, and says
 * where the value lies. Whatever else there is is for the interpreter: stores to devices, faults,
 * accesses that cross a page.
 *
 * The order of memory accesses is program order, as in the interpreter. V8 keeps the order of wasm
 * accesses of a shared memory, and the processor's own order is stronger than RVWMO's or is made so
 * by FENCE.
 */
import { byInstruction } from '../decode.ts';
import { LOAD, STORE } from '../pmp.ts';
import { A, E, type Emitter, FILL, type LOAD_RAM, NOWHERE } from './emitter.ts';
import type { Decoded } from './fields.ts';
import { announce } from './journal.ts';
import { type Code, I32, op } from './wasm.ts';
import { F, TLB_ADDEND, TLB_BYTES, TLB_ENTRIES } from './workspace.ts';

type Emit = (e: Emitter, d: Decoded) => void;
type Kind = typeof LOAD | typeof STORE | typeof LOAD_RAM;

const PAGE = -4096;

/**
 * Puts into E where the slot of the TLB lies for the vaddr on the stack: 16 bytes for each page
 * number modulo TLB_ENTRIES.
 */
export function tlbSlot(e: Emitter): void {
  e.code
    .byte(op.i32WrapI64)
    .i32(8)
    .byte(op.i32ShrU)
    .i32(16 * (TLB_ENTRIES - 1))
    .byte(op.i32And);
  e.inContext().tee(E);
}

/**
 * Where in the Memory `size` bytes at x[rs1] + imm lie, onto the stack; `offset` must be added.
 * The interpreter executes the instruction if that is not known.
 */
export function place(e: Emitter, { rs1, imm }: Pick<Decoded, 'rs1' | 'imm'>, size: number, kind: Kind): void {
  const { ram, tlbs } = e.places;
  if (!e.context.paged) {
    e.get(rs1);
    e.immediate(imm, -ram.base)
      .byte(op.i64Add)
      .tee(A)
      .i64(ram.size - size)
      .byte(op.i64GtU);
    e.open(op.if, I32);
    e.code.get(A).i64(ram.base).byte(op.i64Add);
    fill(e, size, kind);
    e.code.i32(ram.offset).byte(op.i32Sub);
    e.else().get(A).byte(op.i32WrapI64);
    e.close();
    return;
  }
  const tlb = tlbs + (kind === STORE ? TLB_BYTES : 0);
  e.get(rs1);
  if (imm !== 0) e.immediate(imm).byte(op.i64Add);
  e.code.tee(A);
  tlbSlot(e);
  // the page of the last byte, so that an access to two pages is not here
  e.code.memory(op.i64Load, tlb).get(A);
  if (size > 1) e.code.i64(size - 1).byte(op.i64Add);
  e.code.i64(PAGE).ops(op.i64And, op.i64Ne);
  e.open(op.if, I32);
  e.code.get(A);
  fill(e, size, kind);
  e.else()
    .get(A)
    .byte(op.i32WrapI64)
    .get(E)
    .memory(op.i32Load, tlb + TLB_ADDEND)
    .byte(op.i32Add);
  e.close();
}

/** Where in the Memory the vaddr on the stack lies, onto the stack, by `fill`. */
function fill(e: Emitter, size: number, kind: Kind): void {
  e.code.byte(op.f64ConvertI64S).i32(kind).i32(size);
  e.call(FILL).tee(E).i32(NOWHERE).byte(op.i32Eq);
  e.stepIf();
  e.code.get(E);
}

/** What is added to `place`. */
export const placeOffset = (e: Emitter): number => (e.context.paged ? 0 : e.places.ram.offset);

const load =
  (opcode: number, size: number): Emit =>
  (e, d) => {
    place(e, d, size, LOAD);
    e.code.memory(opcode, placeOffset(e));
    e.set(d.rd);
  };

/** By size: an unsigned load of it. */
const LOADS = { 1: op.i64Load8U, 2: op.i64Load16U, 4: op.i64Load32U, 8: op.i64Load };
type Size = keyof typeof LOADS;

/** A store of `size` bytes by `opcode` to the place on the stack; `value` puts 64 bits onto it. */
function storeTo(e: Emitter, opcode: number, size: Size, value: () => Code): void {
  if (e.context.journaled) {
    e.code.tee(E); // the place stays on the stack
    // one load of the old value: no device tears it
    announce(e, size, () => e.code.get(E).memory(LOADS[size], placeOffset(e)), value);
  }
  value().memory(opcode, placeOffset(e));
}

const store =
  (opcode: number, size: Size): Emit =>
  (e, d) => {
    place(e, d, size, STORE);
    storeTo(e, opcode, size, () => e.get(d.rs2));
  };

export const MEMORY = byInstruction<Emit>({
  lb: load(op.i64Load8S, 1),
  lh: load(op.i64Load16S, 2),
  lw: load(op.i64Load32S, 4),
  ld: load(op.i64Load, 8),
  lbu: load(op.i64Load8U, 1),
  lhu: load(op.i64Load16U, 2),
  lwu: load(op.i64Load32U, 4),
  sb: store(op.i64Store8, 1),
  sh: store(op.i64Store16, 2),
  sw: store(op.i64Store32, 4),
  sd: store(op.i64Store, 8),
  fence: (e) => e.code.fence(),
});

/** Boxed in ones (unpriv-isa §21.2). */
const BOX = 0xffff_ffff_0000_0000n;

/** Where mstatus.FS is Dirty. */
export const MEMORY_FLOAT = byInstruction<Emit>({
  fld: (e, d) => {
    e.beginStore();
    place(e, d, 8, LOAD);
    e.code.memory(op.i64Load, placeOffset(e));
    e.endStore(op.i64Store, F + 8 * d.rd);
  },
  flw: (e, d) => {
    e.beginStore();
    place(e, d, 4, LOAD);
    e.code.memory(op.i64Load32U, placeOffset(e)).i64Bits(BOX).byte(op.i64Or);
    e.endStore(op.i64Store, F + 8 * d.rd);
  },
  fsd: (e, d) => {
    place(e, d, 8, STORE);
    storeTo(e, op.i64Store, 8, () => e.getFloat(d.rs2));
  },
  fsw: (e, d) => {
    place(e, d, 4, STORE);
    storeTo(e, op.i64Store32, 4, () => e.getFloat(d.rs2));
  },
});
