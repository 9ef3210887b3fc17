/**
 * CSR instructions that do nothing which a translation would have to look at afterwards: they
 * change neither which interrupt is taken, nor the mode, nor how memory is reached. The registers
 * of traps are accessed in place; the interpreter's function executes the rest, and the region
 * goes on. The others end it.
 */
import * as at from '../csr-numbers.ts';
import { byInstruction } from '../decode.ts';
import { CAUSE, EPC, SCRATCH, SUPERVISOR, TVAL, TVEC } from '../trap-registers.ts';
import { CSR, type Emitter, T } from './emitter.ts';
import type { Decoded } from './fields.ts';
import { op } from './wasm.ts';
import { TRAP, X } from './workspace.ts';

/** A write of one of these is seen by a trap, by xRET or by FP instructions. */
const QUIET: ReadonlySet<number> = new Set([
  at.CSR_MSCRATCH,
  at.CSR_MEPC,
  at.CSR_MCAUSE,
  at.CSR_MTVAL,
  at.CSR_MTVEC,
  at.CSR_SSCRATCH,
  at.CSR_SEPC,
  at.CSR_SCAUSE,
  at.CSR_STVAL,
  at.CSR_STVEC,
  // mstatus.FS may get Dirty: a region made for another FS leaves FP to the interpreter
  at.CSR_FFLAGS,
  at.CSR_FRM,
  at.CSR_FCSR,
]);
/** The instructions of the region are counted when it is left. */
const COUNTING: ReadonlySet<number> = new Set([at.CSR_MCYCLE, at.CSR_MINSTRET, at.CSR_CYCLE, at.CSR_INSTRET]);
/** What these read depends on the time: STIP is up from stimecmp on. */
const TIMED: ReadonlySet<number> = new Set([at.CSR_TIME, at.CSR_MIP, at.CSR_SIP, at.CSR_MTOPI, at.CSR_STOPI]);

const ALL = -1;
const EVEN = -2; // IALIGN = 16
const NONE = 0; // which modes of tvec are legal is the interpreter's business

const IMMEDIATE = 4; // of funct3
const funct3Of = (word: number): number => (word >>> 12) & 7;

/**
 * Whether the CSR instruction can be executed inside a region. `counted`: time is counted by
 * instructions.
 */
export function isQuiet({ word, rs1 }: Decoded, counted: boolean): boolean {
  const csr = word >>> 20;
  const writes = (funct3Of(word) & 3) === 1 || rs1 !== 0; // as in zicsr.ts
  return writes ? QUIET.has(csr) : !COUNTING.has(csr) && !(counted && TIMED.has(csr));
}

/** Of the registers of traps: a word of TrapRegisters, and the bits that software can write. */
const PLACES: ReadonlyMap<number, { readonly word: number; readonly mask: number }> = new Map([
  [at.CSR_MTVEC, { word: TVEC, mask: NONE }],
  [at.CSR_MSCRATCH, { word: SCRATCH, mask: ALL }],
  [at.CSR_MEPC, { word: EPC, mask: EVEN }],
  [at.CSR_MCAUSE, { word: CAUSE, mask: ALL }],
  [at.CSR_MTVAL, { word: TVAL, mask: ALL }],
  [at.CSR_STVEC, { word: SUPERVISOR + TVEC, mask: NONE }],
  [at.CSR_SSCRATCH, { word: SUPERVISOR + SCRATCH, mask: ALL }],
  [at.CSR_SEPC, { word: SUPERVISOR + EPC, mask: EVEN }],
  [at.CSR_SCAUSE, { word: SUPERVISOR + CAUSE, mask: ALL }],
  [at.CSR_STVAL, { word: SUPERVISOR + TVAL, mask: ALL }],
]);

/** An access in place; false if it is to be executed by a call. */
function inPlace(e: Emitter, { word, rd, rs1 }: Decoded): boolean {
  const csr = word >>> 20;
  const funct3 = funct3Of(word);
  const place = PLACES.get(csr);
  const writes = (funct3 & 3) === 1 || rs1 !== 0;
  if (!place || e.context.mode < ((csr >> 8) & 3) || (writes && place.mask === NONE)) return false;
  const at = TRAP + 8 * place.word;
  const { code } = e;
  e.word(op.i64Load, at).set(T);
  if (writes) {
    e.beginStore();
    if (funct3 & IMMEDIATE) code.i64(rs1);
    else e.get(rs1);
    if ((funct3 & 3) === 2) code.get(T).byte(op.i64Or);
    if ((funct3 & 3) === 3) code.i64(-1).byte(op.i64Xor).get(T).byte(op.i64And);
    if (place.mask !== ALL) code.i64(place.mask).byte(op.i64And);
    e.endStore(op.i64Store, at);
  }
  code.get(T);
  e.set(rd);
  return true;
}

const quiet = (e: Emitter, decoded: Decoded): void => {
  const { word, rd, rs1 } = decoded;
  if (inPlace(e, decoded)) return;
  if ((funct3Of(word) & IMMEDIATE) === 0 && rs1 !== 0) {
    e.beginStore();
    e.get(rs1);
    e.endStore(op.i64Store, X + 8 * rs1);
  }
  e.code.i32(word);
  e.call(CSR).byte(op.i32Eqz);
  e.stepIf();
  if (rd === 0) return;
  e.word(op.i64Load, X + 8 * rd);
  e.set(rd);
};

export const CSRS = byInstruction({
  csrrw: quiet,
  csrrs: quiet,
  csrrc: quiet,
  csrrwi: quiet,
  csrrsi: quiet,
  csrrci: quiet,
});
