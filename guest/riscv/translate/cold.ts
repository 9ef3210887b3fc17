/**
 * The interpreter of code that is not hot, as one wasm function of a region's type: it goes on at
 * the pc in the workspace. The emitters of regions make the code of each instruction. Here it finds
 * its registers and its immediate value when it runs. An instruction takes 4 ns; in the interpreter
 * of execute.ts it takes 20.
 *
 * An instruction is decoded by its bits alone, whatever its address. So what is decoded is never
 * out of date, and the code itself is read from RAM each time.
 *
 * The jump cache says of a pc that it is cold, too (COLD). A jump to any other pc leaves this
 * function: the dispatcher knows the region, or the translator looks for one. Instructions are
 * counted as the heat of the cache line from which they ran on.
 */
import { expand } from '../compressed.ts';
import { byInstruction, decode } from '../decode.ts';
import { INSTRUCTIONS, type Instruction } from '../instructions.ts';
import { FETCH } from '../pmp.ts';
import { ATOMIC } from './atomic.ts';
import { CSRS, isQuiet } from './csr.ts';
import {
  BUDGET,
  CSR,
  DECODE,
  E,
  Emitter,
  FILL,
  FIRST_REGISTER,
  HOT,
  jumpEntry,
  LEFT_LOCAL,
  LOOKUP,
  NOWHERE,
  type Places,
  STEP,
  TARGET,
  WHY,
  WHY_BITS,
} from './emitter.ts';
import { type Decoded, fieldsOf } from './fields.ts';
import { CONDITION, INTEGER } from './integer.ts';
import { MEMORY, tlbSlot } from './memory.ts';
import { TRAPS } from './trap.ts';
import { type Body, type Code, I32, I64, op, type ValueType } from './wasm.ts';
import {
  COLD,
  DECODED,
  DECODED_BITS,
  HEAT,
  HEAT_LINES,
  JUMP_BYTES,
  JUMP_SLOT,
  JUMPS,
  LINE_SHIFT,
  PC_BITS,
  SINK,
  TLB_ADDEND,
  TLB_BYTES,
  type Workspace,
  X,
} from './workspace.ts';

/** Locals behind those of all emitters. */
const PLACE = FIRST_REGISTER; // i32: where in the Memory the present instruction lies
const LAST = FIRST_REGISTER + 1; // i32: the last place on its page where one may begin
const WORD = FIRST_REGISTER + 2; // i32: its bits
const ENTRY_AT = FIRST_REGISTER + 3; // i32: of what is decoded, from DECODED
const CONTEXT_AT = FIRST_REGISTER + 4; // i32: the jump cache of the context
const SINCE = FIRST_REGISTER + 5; // i32: LEFT when instructions were last counted as heat
const HEAT_AT = FIRST_REGISTER + 6; // i32: where they count
const BIAS = FIRST_REGISTER + 7; // i64: the pc, less its place
const VALUE = FIRST_REGISTER + 8; // i64

/** Of what is decoded; the offsets of registers are from the workspace's start. */
const IMMEDIATE = 4; // int32
const CASE = 8; // uint8
const LENGTH = 9; // uint8
const RD = 10; // uint16
const RS1 = 12; // uint16
const RS2 = 14; // uint16

/** The registers and the immediate of the instruction that is emitted: they stand for any. */
const ANY = { pc: 0, length: 4, word: 0, rd: 3, rs1: 1, rs2: 2, imm: 1 } as const;

/** Spreads the bits of an instruction (the golden ratio, as an odd int32). */
const SPREAD = 0x9e37_79b1 | 0;

/** The instructions that always jump: all jumps leave cold code by one exit (jalr and jal). */
const JUMPS_OF = byInstruction<'jal' | 'jalr'>({ jal: 'jal', jalr: 'jalr' });

/** Of instructions that the other interpreter executes. */
const NO_CASE = 0;
const CASES: readonly Instruction[] = INSTRUCTIONS.filter(
  ({ id }) =>
    (INTEGER[id] ?? CONDITION[id] ?? MEMORY[id] ?? ATOMIC[id] ?? CSRS[id] ?? JUMPS_OF[id] ?? TRAPS[id]) !== undefined,
);
const CASE_OF: readonly number[] = INSTRUCTIONS.map((instruction) => CASES.indexOf(instruction) + 1);

/**
 * Decodes an instruction into the workspace, for the cold code. `entryAt` is from DECODED;
 * `counted` as in Context.
 */
export function decodeInto({ i32 }: Workspace, word: number, entryAt: number, counted: boolean): void {
  const compressed = (word & 3) !== 3;
  const whole = compressed ? expand(word) : word;
  const instruction = decode(whole);
  const decoded = instruction && fieldsOf(0, compressed ? 2 : 4, whole, instruction);
  const at = (DECODED + entryAt) / 4;
  i32[at] = word;
  i32[at + CASE / 4] = NO_CASE;
  if (!decoded || (CSRS[decoded.instruction.id] && !isQuiet(decoded, counted))) return;
  const { rd, rs1, rs2, imm, length } = decoded;
  i32[at + IMMEDIATE / 4] = imm;
  const to = rd === 0 ? SINK : X + 8 * rd;
  i32[at + CASE / 4] = CASE_OF[decoded.instruction.id]! | (length << 8) | (to << 16);
  i32[at + RS1 / 4] = (X + 8 * rs1) | ((X + 8 * rs2) << 16);
}

/** The instruction that is looked for there has no case, and will be looked for again. */
export function leaveUndecoded({ i32 }: Workspace, entryAt: number): void {
  const at = (DECODED + entryAt) / 4;
  i32[at] = -1; // which is no instruction
  i32[at + CASE / 4] = NO_CASE;
}

class ColdEmitter extends Emitter {
  /** The label behind which an instruction is left to the other interpreter. */
  stepLabel = 0;

  override get locals(): readonly (readonly [number, ValueType])[] {
    return [...super.locals, [7, I32], [2, I64]];
  }

  /** Loads a part of what is decoded. */
  decoded(load: number, part: number): Code {
    return this.code.get(ENTRY_AT).memory(load, this.places.workspace + DECODED + part);
  }

  override get(register: number): Code {
    this.decoded(op.i32Load16U, register === ANY.rs1 ? RS1 : RS2);
    return this.code.memory(op.i64Load, this.places.workspace);
  }

  override set(_register: number): Code {
    this.code.set(VALUE);
    return this.decoded(op.i32Load16U, RD).get(VALUE).memory(op.i64Store, this.places.workspace);
  }

  override immediate(value: number, plus = 0): Code {
    this.immediate32(value).byte(op.i64ExtendI32S);
    return plus === 0 ? this.code : this.code.i64(plus).byte(op.i64Add);
  }

  override immediate32(_value: number): Code {
    return this.decoded(op.i32Load, IMMEDIATE);
  }

  override fromPc(_pc: number, value: number): Code {
    this.pc();
    return this.immediate(value).byte(op.i64Add);
  }

  override inContext(): Code {
    return this.code.get(CONTEXT_AT).byte(op.i32Add);
  }

  override stepIf(): void {
    this.branch(op.brIf, this.stepLabel);
  }

  override step(): void {
    this.branch(op.br, this.stepLabel);
  }

  pc(): Code {
    return this.code.get(PLACE).byte(op.i64ExtendI32U).get(BIAS).byte(op.i64Add);
  }

  /** The pc of the instruction behind this one. */
  next(): Code {
    this.pc();
    return this.decoded(op.i32Load8U, LENGTH).ops(op.i64ExtendI32U, op.i64Add);
  }
}

/** What the function takes for granted. */
export interface ColdOptions {
  readonly places: Pick<Places, 'ram' | 'workspace' | 'journal'>;
  readonly journaled: boolean;
  /** So many interpreted instructions in a cache line of code make it hot. */
  readonly hot: number;
}

/** The function. All its data accesses go through the TLB, in each context. */
export function coldBody({ places, journaled, hot }: ColdOptions): Body {
  const context = { id: 0, mode: 0, paged: true, data: 0, float: false, journaled, counted: false };
  const e = new ColdEmitter(context, { ...places, jumps: 0, tlbs: JUMP_BYTES }, []);
  const { code } = e;
  const leave = (why: number, label: number): void => leaveFor(e, why, label);
  e.enter();
  e.word(op.i32Load, JUMPS).set(CONTEXT_AT).get(LEFT_LOCAL).set(SINCE);
  e.word(op.i64Load, PC_BITS).set(TARGET);
  heatPlace(e).set(HEAT_AT);
  const left = e.open(op.block);
  const fetch = e.open(op.loop);
  fetchPage(e, () => leave(STEP, left));
  const next = e.open(op.loop);
  e.stepLabel = e.open(op.block);
  const jump = e.open(op.block);
  const over = e.open(op.block);

  code.get(LEFT_LOCAL).byte(op.i32Eqz);
  e.open(op.if);
  e.pc().set(TARGET);
  leave(BUDGET, left);
  e.close();
  decodePresent(e);
  code.get(LEFT_LOCAL).i32(1).byte(op.i32Sub).set(LEFT_LOCAL);
  const labels = CASES.map(() => e.open(op.block)).reverse(); // case 1 ends first
  e.decoded(op.i32Load8U, CASE)
    .byte(op.brTable)
    .unsigned(labels.length + 1);
  for (const label of [e.stepLabel, ...labels, e.stepLabel]) code.unsigned(e.depthOf(label));
  for (const instruction of CASES) {
    e.close();
    const traps = TRAPS[instruction.id];
    if (traps !== undefined) {
      leaveBefore(e, traps, left);
      continue;
    }
    if (emitCase(e, { ...ANY, instruction }, jump)) continue;
    code.get(PLACE);
    e.decoded(op.i32Load8U, LENGTH).byte(op.i32Add).tee(PLACE).get(LAST).byte(op.i32LeU);
    e.branch(op.brIf, next);
    e.branch(op.br, over);
  }
  e.close(); // over: another page begins
  e.pc().set(TARGET);
  e.branch(op.br, fetch);
  e.close(); // jump: to TARGET
  countHeat(e);
  heatPlace(e).set(HEAT_AT);
  jumpEntry(code, TARGET).get(CONTEXT_AT).byte(op.i32Add).tee(E);
  code.memory(op.i64Load, 0).get(TARGET).byte(op.i64Eq).get(E).memory(op.i32Load, JUMP_SLOT).i32(COLD);
  code.ops(op.i32Eq, op.i32And);
  e.open(op.if);
  code
    .get(HEAT_AT)
    .memory(op.i32Load, places.workspace + HEAT)
    .i32(hot)
    .byte(op.i32LtS);
  e.branch(op.brIf, fetch);
  leave(HOT, left);
  e.close();
  leave(LOOKUP, left);
  e.close(); // step
  leaveBefore(e, STEP, left);
  e.close(); // next
  e.close(); // fetch
  e.close(); // left
  countHeat(e);
  code.get(LEFT_LOCAL).i32(WHY_BITS).byte(op.i32Shl).get(WHY).byte(op.i32Or).get(TARGET).byte(op.end);
  return { code, locals: e.locals };
}

function leaveFor(e: ColdEmitter, why: number, label: number): void {
  e.code.i32(why).set(WHY);
  e.branch(op.br, label);
}

/** The present instruction is somebody else's. */
function leaveBefore(e: ColdEmitter, why: number, label: number): void {
  e.code.get(LEFT_LOCAL).i32(1).byte(op.i32Add).set(LEFT_LOCAL);
  e.pc().set(TARGET);
  leaveFor(e, why, label);
}

/** PLACE, LAST and BIAS for the pc in TARGET. */
function fetchPage(e: ColdEmitter, step: () => void): void {
  const { code } = e;
  const tlb = JUMP_BYTES + FETCH * TLB_BYTES;
  code.get(TARGET);
  tlbSlot(e);
  code.memory(op.i64Load, tlb).get(TARGET).i64(-4096).ops(op.i64And, op.i64Ne);
  e.open(op.if);
  code.get(TARGET).byte(op.f64ConvertI64S).i32(FETCH).i32(2);
  e.call(FILL).i32(NOWHERE).byte(op.i32Eq);
  e.open(op.if);
  step();
  e.close();
  e.close();
  code
    .get(TARGET)
    .byte(op.i32WrapI64)
    .get(E)
    .memory(op.i32Load, tlb + TLB_ADDEND)
    .byte(op.i32Add)
    .tee(PLACE);
  code.i32(0xfff).byte(op.i32Or).i32(3).byte(op.i32Sub).set(LAST);
  code.get(TARGET).get(PLACE).ops(op.i64ExtendI32U, op.i64Sub).set(BIAS);
  code.get(PLACE).get(LAST).byte(op.i32GtU);
  e.open(op.if);
  step(); // perhaps half of it is on the next page
  e.close();
}

/** WORD and ENTRY_AT of the instruction at PLACE. */
function decodePresent(e: ColdEmitter): void {
  const { code } = e;
  code.get(PLACE).memory(op.i32Load, 0).tee(WORD).get(WORD).i32(0xffff).byte(op.i32And);
  code.get(WORD).i32(3).byte(op.i32And).i32(3).ops(op.i32Eq, op.select).tee(WORD);
  code
    .i32(SPREAD)
    .byte(op.i32Mul)
    .i32(32 - DECODED_BITS)
    .byte(op.i32ShrU)
    .i32(4)
    .byte(op.i32Shl)
    .set(ENTRY_AT);
  e.decoded(op.i32Load, 0).get(WORD).byte(op.i32Ne);
  e.open(op.if);
  code.get(WORD).get(ENTRY_AT);
  e.call(DECODE);
  e.close();
}

/** The code of one instruction; true if it does not go on at the next one. */
function emitCase(e: ColdEmitter, d: Decoded, jump: number): boolean {
  const { code } = e;
  const { id } = d.instruction;
  const condition = CONDITION[id];
  const jumps = JUMPS_OF[id];
  if (condition) {
    condition(e, d);
    e.open(op.if);
    e.fromPc(d.pc, d.imm).set(TARGET);
    e.branch(op.br, jump);
    e.close();
  } else if (jumps) {
    if (jumps === 'jal') e.fromPc(d.pc, d.imm).set(TARGET);
    else {
      e.get(d.rs1);
      e.immediate(d.imm).byte(op.i64Add).i64(-2).byte(op.i64And).set(TARGET);
    }
    e.next();
    e.set(d.rd);
    e.branch(op.br, jump);
    return true;
  } else if (CSRS[id]) {
    code.get(WORD);
    e.call(CSR).byte(op.i32Eqz);
    e.stepIf();
  } else if (INTEGER[id]) {
    INTEGER[id](e, d);
    e.set(d.rd);
  } else (MEMORY[id] ?? ATOMIC[id])!(e, d);
  return false;
}

/** Onto the stack: where the heat of the code at TARGET is, from HEAT. */
const heatPlace = ({ code }: Emitter): Code =>
  code
    .get(TARGET)
    .i64(LINE_SHIFT)
    .byte(op.i64ShrU)
    .byte(op.i32WrapI64)
    .i32(HEAT_LINES - 1)
    .byte(op.i32And)
    .i32(2)
    .byte(op.i32Shl);

/** The instructions executed since the last time are heat of HEAT_AT. */
function countHeat({ code, places }: Emitter): void {
  const heat = places.workspace + HEAT;
  code.get(HEAT_AT).get(HEAT_AT).memory(op.i32Load, heat).get(SINCE).byte(op.i32Add);
  code.get(LEFT_LOCAL).byte(op.i32Sub).memory(op.i32Store, heat);
  code.get(LEFT_LOCAL).set(SINCE);
}
