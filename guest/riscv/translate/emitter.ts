/** What the emitters of all kinds of instructions use: registers, and the ways out of a region. */
import { HartJournal } from '../journal-layout.ts';
import type { Decoded } from './fields.ts';
import { readsOf, writesOf } from './registers.ts';
import { Code, F64, I32, I64, op, type ValueType } from './wasm.ts';
import { F, JUMP_ENTRIES, X } from './workspace.ts';

/** What is true wherever a translation runs, so that its code need not ask. */
export interface Context {
  readonly id: number;
  /** U 0, S 1, M 3 */
  readonly mode: number;
  /** Loads and stores go through the MMU, with this mode, SUM and MXR; −1 if they do not. */
  readonly paged: boolean;
  readonly data: number;
  /** mstatus.FS is Dirty: FP instructions may execute, and have no status to keep. */
  readonly float: boolean;
  /** Each store to RAM is written into the journal before it is made. */
  readonly journaled: boolean;
  /** Time is counted by instructions. */
  readonly counted: boolean;
}

/** Where things lie in the Memory. */
export interface Places {
  readonly ram: { readonly base: number; readonly offset: number; readonly size: number };
  readonly workspace: number;
  readonly journal: number;
  readonly jumps: number;
  readonly tlbs: number;
}

/** Why a translation returned to its caller. */
export const LOOKUP = 0; // the translation at pc is not in the jump cache
export const BUDGET = 1; // too little is left
export const STEP = 2; // the instruction at pc is for the interpreter
export const HOT = 3; // the code at pc is hot, and has no translation
// The dispatcher executes the instruction at pc, or returns STEP (trap.ts).
export const ECALL = 4;
export const MRET = 5;
export const SRET = 6;
/** What is left of the budget stands above so many bits. */
export const WHY_BITS = 3;

/** What an access is, beside LOAD, STORE and FETCH: a load of RAM alone. */
export const LOAD_RAM = 3;
/** `fill` knows no place. */
export const NOWHERE = -1;

/** Imported functions, by their number. */
export const FILL = 0;
export const FLOAT = 1;
export const CSR = 2;
export const DECODE = 3;

/** Locals: the parameters, temporaries of one instruction, then registers. */
export const ENTRY = 0;
export const LEFT_LOCAL = 1;
export const A = 2; // i64: the vaddr of an access
export const TARGET = 3; // i64: where an exit goes to
export const T = 4; // i64
export const U = 5; // i64
export const V = 6; // i64
export const E = 7; // i32
export const WHY = 8; // i32
/**
 * i32: where a block stops for the interpreter, as bytes from the block's beginning <<
 * OFFSET_SHIFT | instructions of the block that it does not execute.
 */
const STOP = 9;
const OFFSET_SHIFT = 12;
const REST_MASK = (1 << OFFSET_SHIFT) - 1;
/** i32: the journal's head, as it is in memory, and where an entry lies, from the first one. */
export const HEAD = 10;
export const ENTRY_PLACE = 11;
export const D0 = 12; // f64
export const D1 = 13; // f64
export const FIRST_REGISTER = 14;

export class Emitter {
  readonly code = new Code();
  readonly context: Context;
  readonly places: Places;
  /** By register; those that the region does not use have none. */
  readonly #local: (number | undefined)[] = [];
  #locals = 0;
  /** As a bit each. */
  readonly #written: number;
  /** Labels that are open. */
  #depth = 0;
  /** The label behind which the present block leaves for the interpreter. */
  #step = 0;
  /** The present instruction, as STOP says it. */
  #stop = 0;

  constructor(context: Context, places: Places, instructions: readonly Decoded[]) {
    this.context = context;
    this.places = places;
    let used = 0;
    let written = 0;
    for (const each of instructions) {
      used |= readsOf(each);
      written |= writesOf(each);
    }
    used |= written;
    for (let register = 1; register < 32; register++) {
      if (used & (1 << register)) this.#local[register] = FIRST_REGISTER + this.#locals++;
    }
    this.#written = written;
  }

  /** Beyond the parameters. */
  get locals(): readonly (readonly [number, ValueType])[] {
    return [
      [5, I64],
      [5, I32],
      [2, F64],
      [this.#locals, I64],
    ];
  }

  /** Loads the registers that the region uses, and the journal's head. */
  enter(): void {
    this.#loadHead();
    for (let register = 1; register < 32; register++) {
      const local = this.#local[register];
      if (local !== undefined) this.word(op.i64Load, X + 8 * register).set(local);
    }
  }

  /** Calls an imported function, which may write into the journal. */
  call(imported: number): Code {
    this.code.byte(op.call).unsigned(imported);
    this.#loadHead();
    return this.code;
  }

  #loadHead(): void {
    if (!this.context.journaled) return;
    this.code
      .i32(0)
      .memory(op.i32Load, this.places.journal + HartJournal.offset.head)
      .set(HEAD);
  }

  /** Stores the registers that the region writes. */
  spill(): void {
    for (let register = 1; register < 32; register++) {
      if ((this.#written & (1 << register)) === 0) continue;
      this.code
        .i32(0)
        .get(this.#local[register]!)
        .memory(op.i64Store, this.#address(X + 8 * register));
    }
  }

  /**
   * What comes next is the code of an instruction: bytes from the block's beginning to it, the
   * instructions of the block from it on, the label behind which `leaveForStep` is.
   */
  at(offset: number, rest: number, step: number): void {
    this.#stop = (offset << OFFSET_SHIFT) | rest;
    this.#step = step;
  }

  /** x[register] onto the stack. */
  get(register: number): Code {
    const local = this.#local[register];
    return local === undefined ? this.code.i64(0) : this.code.get(local);
  }

  /** The top of the stack into x[register]. */
  set(register: number): Code {
    return register === 0 ? this.code.byte(op.drop) : this.code.set(this.#local[register]!);
  }

  /** An instruction's immediate value, and what is added to it, as 64 bits onto the stack. */
  immediate(value: number, plus = 0): Code {
    return this.code.i64(value + plus);
  }

  /** The same of 32 bits. */
  immediate32(value: number): Code {
    return this.code.i32(value);
  }

  /** The pc of the present instruction, and what is added to it. */
  fromPc(pc: number, value: number): Code {
    return this.code.i64(pc + value);
  }

  /** What is on the stack is an offset in memory of the context that `places` say. */
  inContext(): Code {
    return this.code;
  }

  /** Loads a word of the workspace. */
  word(load: number, offset: number): Code {
    return this.code.i32(0).memory(load, this.#address(offset));
  }

  /** Begins a store to a word of the workspace; the value and `endStore` follow. */
  beginStore(): Code {
    return this.code.i32(0);
  }

  endStore(store: number, offset: number): Code {
    return this.code.memory(store, this.#address(offset));
  }

  /** The bits of f[register] onto the stack. */
  getFloat(register: number, load: number = op.i64Load): Code {
    return this.word(load, F + 8 * register);
  }

  /** Begins a block, loop or if; returns its label. */
  open(opcode: number, result?: ValueType): number {
    this.code.open(opcode, result);
    return this.#depth++;
  }

  else(): Code {
    return this.code.byte(op.else);
  }

  close(): Code {
    this.#depth--;
    return this.code.byte(op.end);
  }

  /** How many labels are open inside that one. */
  depthOf(label: number): number {
    return this.#depth - 1 - label;
  }

  branch(opcode: number, label: number): Code {
    return this.code.branch(opcode, this.depthOf(label));
  }

  /** If the top of the stack is not 0, the interpreter executes the present instruction. */
  stepIf(): void {
    this.code.i32(this.#stop).set(STOP);
    this.branch(op.brIf, this.#step);
  }

  /** The interpreter executes the present instruction. */
  step(): void {
    this.code.i32(this.#stop).set(STOP);
    this.branch(op.br, this.#step);
  }

  /** The end of a block: TARGET and LEFT for the interpreter's instruction that STOP says. */
  leaveForStep(pc: number): void {
    const { code } = this;
    code.get(STOP).i32(REST_MASK).byte(op.i32And).get(LEFT_LOCAL).byte(op.i32Add).set(LEFT_LOCAL);
    code.get(STOP).i32(OFFSET_SHIFT).ops(op.i32ShrU, op.i64ExtendI32U).i64(pc).byte(op.i64Add).set(TARGET);
    code.i32(STEP).set(WHY);
  }

  #address(offset: number): number {
    return this.places.workspace + offset;
  }
}

/** Onto the stack: the place in a jump cache of the pc in a local. */
export const jumpEntry = (code: Code, target: number): Code =>
  code
    .get(target)
    .byte(op.i32WrapI64)
    .i32(3)
    .byte(op.i32Shl)
    .i32(16 * (JUMP_ENTRIES - 1))
    .byte(op.i32And);
