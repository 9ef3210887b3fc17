/**
 * CSR instructions that do nothing which a translation would have to look at afterwards: they
 * change neither which interrupt is taken, nor the mode, nor how memory is reached. The
 * interpreter's function executes them, and the region goes on. The others end it.
 */
import * as at from '../csr-numbers.ts';
import { byInstruction } from '../decode.ts';
import { CSR, type Emitter } from './emitter.ts';
import type { Decoded } from './fields.ts';
import { op } from './wasm.ts';
import { X } from './workspace.ts';

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

const quiet = (e: Emitter, { word, rd, rs1 }: Decoded): void => {
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
