/**
 * ECALL, MRET and SRET in wasm: a part of the dispatcher (dispatcher.ts). It does what enter,
 * returnFromMachine and returnFromSupervisor of ../trap.ts do, where that is plain, and goes on in
 * the context of the new mode.
 *
 * The interpreter looks at the interrupts after such an instruction. Nothing is taken that was not
 * pending and enabled at the last look; so the instruction is the interpreter's only if something
 * was. What is new since then waits for the next look, as anywhere in translated code.
 */

import { byInstruction } from '../decode.ts';
import * as isa from '../isa.ts';
import { CAUSE, EPC, MEDELEG, MODE, MSTATUS, SUPERVISOR, TRAPPED, TVAL, TVEC } from '../trap-registers.ts';
import { BUDGET, ECALL, LOOKUP, MRET, SRET, STEP } from './emitter.ts';
import { type Code, op } from './wasm.ts';
import { CONTEXT_OF, JUMPS, PENDING, RESERVED, TRAP } from './workspace.ts';

/** By instruction: why a region returns before it. */
export const TRAPS = byInstruction<typeof ECALL | typeof MRET | typeof SRET>({ ecall: ECALL, mret: MRET, sret: SRET });

/** Locals of the dispatcher. */
export interface TrapLocals {
  /** i32: why a region returned; what is left; the address of the jump cache. */
  readonly why: number;
  readonly rest: number;
  readonly jumps: number;
  /** i64: the pc. */
  readonly target: number;
  /** i32, of this part alone: mode, mstatus, the registers' place, then mode and mstatus to be. */
  readonly mode: number;
  readonly status: number;
  readonly base: number;
  readonly newMode: number;
  readonly newStatus: number;
  /** i32: the address of its jump cache. */
  readonly newJumps: number;
}

const SUM_SHIFT = 18;
const MACHINE_PART = isa.MSTATUS_MPP | isa.MSTATUS_MPIE | isa.MSTATUS_MIE;
const SUPERVISOR_PART = isa.MSTATUS_SPP | isa.MSTATUS_SPIE | isa.MSTATUS_SIE;
/** From MIE to MPIE, from SIE to SPIE. */
const PIE_SHIFT = 4;
const SPP_SHIFT = 8;

/**
 * The index of a context among those of CONTEXT_OF; −1 under MPRV, where other bits count, too.
 */
export const contextIndex = (mode: number, mstatus: number): number =>
  mstatus & isa.MSTATUS_MPRV
    ? -1
    : mode | (((mstatus >> SUM_SHIFT) & 3) << 2) | ((mstatus & isa.MSTATUS_FS) === isa.MSTATUS_FS ? 16 : 0);

/**
 * Executes the instruction at `target`, which `why` says, for code in the workspace at `at`.
 * Afterwards `why` is LOOKUP, or STEP or BUDGET with all as it was.
 */
export function emitTrap(code: Code, at: number, locals: TrapLocals): void {
  const { why, rest, jumps, target, mode, status, base, newMode, newStatus, newJumps } = locals;
  const trap = at + TRAP;
  /** The interpreter does it, if the top of the stack is not 0; so many labels lie inside. */
  const stepIf = (depth: number): Code => code.branch(op.brIf, depth);
  const load = (opcode: number, word: number): Code => code.i32(0).memory(opcode, trap + 8 * word);
  code.open(op.block); // done
  code.open(op.block); // step
  code.get(rest).byte(op.i32Eqz).open(op.if).i32(BUDGET).set(why).branch(op.br, 2).byte(op.end);
  code.i32(0).memory(op.i32Load, at + PENDING);
  stepIf(0);
  load(op.i32Load, MODE).set(mode);
  load(op.i32Load, MSTATUS).set(status);

  code.get(why).i32(ECALL).byte(op.i32Eq).open(op.if);
  enterTrap(code, trap, locals);
  code.byte(op.else);
  code.get(why).i32(MRET).byte(op.i32Eq).open(op.if);
  code.get(mode).i32(isa.MODE_M).byte(op.i32Ne);
  stepIf(2);
  returnTo(code, locals, { part: MACHINE_PART, pie: isa.MSTATUS_MPIE, shift: isa.MPP_SHIFT, privileges: 3, base: 0 });
  code.byte(op.else);
  code.get(mode).byte(op.i32Eqz);
  stepIf(2);
  code.get(mode).i32(isa.MODE_S).byte(op.i32Eq).get(status).i32(isa.MSTATUS_TSR).ops(op.i32And, op.i32Eqz, op.i32Eqz);
  code.byte(op.i32And);
  stepIf(2);
  const s = { part: SUPERVISOR_PART, pie: isa.MSTATUS_SPIE, shift: SPP_SHIFT, privileges: 1, base: 8 * SUPERVISOR };
  returnTo(code, locals, s);
  code.byte(op.end);
  // isExact: −2^52 < pc < 2^52
  code
    .get(base)
    .memory(op.i64Load, trap + 8 * EPC)
    .i64(2 ** 52 - 1)
    .byte(op.i64Add)
    .i64(2 ** 53 - 2)
    .byte(op.i64GtU);
  stepIf(1);
  code.byte(op.end);

  // the context
  code.get(newStatus).i32(isa.MSTATUS_MPRV).byte(op.i32And);
  stepIf(0);
  code.get(newStatus).i32(SUM_SHIFT).byte(op.i32ShrU).i32(3).byte(op.i32And).i32(2).byte(op.i32Shl).get(newMode);
  code.byte(op.i32Or);
  code.get(newStatus).i32(isa.MSTATUS_FS).byte(op.i32And).i32(isa.MSTATUS_FS).byte(op.i32Eq).i32(4).byte(op.i32Shl);
  code
    .byte(op.i32Or)
    .i32(2)
    .byte(op.i32Shl)
    .memory(op.i32Load, at + CONTEXT_OF)
    .tee(newJumps)
    .byte(op.i32Eqz);
  stepIf(0);

  // nothing can prevent it any more
  code.get(why).i32(ECALL).byte(op.i32Eq).open(op.if);
  writeCause(code, at, locals);
  code.byte(op.else);
  code
    .get(base)
    .memory(op.i64Load, trap + 8 * EPC)
    .set(target);
  code.byte(op.end);
  const store = (word: number, local: number): Code =>
    code
      .i32(0)
      .get(local)
      .memory(op.i32Store, trap + 8 * word);
  store(MODE, newMode);
  store(MSTATUS, newStatus);
  code
    .i32(0)
    .get(newJumps)
    .tee(jumps)
    .memory(op.i32Store, at + JUMPS);
  code.get(rest).i32(1).byte(op.i32Sub).set(rest);
  code.i32(LOOKUP).set(why).branch(op.br, 1);
  code.byte(op.end); // step
  code.i32(STEP).set(why);
  code.byte(op.end); // done
}

/** Where a trap of ECALL goes to (priv-isa §3.1.8), and what mstatus gets (§3.1.6.1). */
function enterTrap(code: Code, trap: number, { mode, status, base, newMode, newStatus }: TrapLocals): void {
  code.get(mode).i32(isa.MODE_M).byte(op.i32Ne);
  code
    .i32(0)
    .memory(op.i32Load, trap + 8 * MEDELEG)
    .get(mode)
    .i32(isa.CAUSE_USER_ECALL)
    .byte(op.i32Add);
  code.byte(op.i32ShrU).byte(op.i32And).i32(1).byte(op.i32And).open(op.if);
  code
    .i32(8 * SUPERVISOR)
    .set(base)
    .i32(isa.MODE_S)
    .set(newMode);
  code.get(mode).i32(SPP_SHIFT).byte(op.i32Shl); // U 0, S 1
  saveEnable(code, status, SUPERVISOR_PART, isa.MSTATUS_SIE);
  code.set(newStatus).byte(op.else);
  code.i32(0).set(base).i32(isa.MODE_M).set(newMode);
  code.get(mode).i32(isa.MPP_SHIFT).byte(op.i32Shl);
  saveEnable(code, status, MACHINE_PART, isa.MSTATUS_MIE);
  code.set(newStatus).byte(op.end);
}

/** Adds xPIE = xIE, and what of mstatus stays, to the bits on the stack. */
function saveEnable(code: Code, status: number, part: number, enable: number): void {
  code.get(status).i32(enable).byte(op.i32And).i32(PIE_SHIFT).ops(op.i32Shl, op.i32Or);
  code.get(status).i32(~part).ops(op.i32And, op.i32Or);
}

/** Of a mode with xRET: its bits of mstatus, those of xPP moved to 0, where its registers lie. */
interface Returns {
  readonly part: number;
  readonly pie: number;
  readonly shift: number;
  readonly privileges: number;
  readonly base: number;
}

/** The mode that xRET returns to, and what mstatus gets (priv-isa §3.1.6.1, §3.1.6.3). */
function returnTo(code: Code, { status, base, newMode, newStatus }: TrapLocals, returns: Returns): void {
  const { part, pie, shift, privileges, base: place } = returns;
  code.i32(place).set(base);
  code.get(status).i32(shift).byte(op.i32ShrU).i32(privileges).byte(op.i32And).set(newMode);
  code.get(status).i32(~part).byte(op.i32And).i32(pie).byte(op.i32Or);
  code.get(status).i32(pie).byte(op.i32And).i32(PIE_SHIFT).ops(op.i32ShrU, op.i32Or).set(newStatus);
  code.get(newMode).i32(isa.MODE_M).byte(op.i32Ne).open(op.if);
  code.get(newStatus).i32(~isa.MSTATUS_MPRV).byte(op.i32And).set(newStatus).byte(op.end);
}

/** What the handler finds, and its address; the ECALL does not retire and ends a reservation. */
function writeCause(code: Code, at: number, { target, mode, base }: TrapLocals): void {
  const trap = at + TRAP;
  code
    .get(base)
    .get(target)
    .memory(op.i64Store, trap + 8 * EPC);
  code.get(base).get(mode).i32(isa.CAUSE_USER_ECALL).ops(op.i32Add, op.i64ExtendI32U);
  code.memory(op.i64Store, trap + 8 * CAUSE);
  code
    .get(base)
    .i64(0)
    .memory(op.i64Store, trap + 8 * TVAL);
  code
    .i32(0)
    .i32(0)
    .memory(op.f64Load, trap + 8 * TRAPPED)
    .f64(1)
    .byte(op.f64Add);
  code.memory(op.f64Store, trap + 8 * TRAPPED);
  code
    .i32(0)
    .i64(-1)
    .memory(op.i64Store, at + RESERVED);
  code
    .get(base)
    .memory(op.i64Load, trap + 8 * TVEC)
    .i64(-2)
    .byte(op.i64And)
    .set(target);
}
