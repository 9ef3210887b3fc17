import { load, store } from './access.ts';
import { bitsOf } from './address.ts';
import type { Core } from './core.ts';
import { DOUBLE, SINGLE } from './float/format.ts';
import * as isa from './isa.ts';
import { LOAD, STORE } from './pmp.ts';
import { raise } from './trap.ts';

/** What `execute` does after the access. */
export const NEXT = 0;
/** Go on at core.pc: an exception has been raised. */
export const TRAPPED = 1;
/** Go on, and look at interrupts and the journal before the next instruction. */
export const LOOK = 2;

/**
 * FLW, FLD, FSW and FSD at core.pc (unpriv-isa §20.5, §21.3); mstatus.FS is not Off. f[rd] ← [rs1 +
 * imm], or [rs1 + imm] ← f[rs2].
 */
export function accessFloat(core: Core, insn: number): typeof NEXT | typeof TRAPPED | typeof LOOK {
  const { float, halves, memory, csr } = core;
  const rd = (insn >>> 7) & 31;
  const rs1 = (insn >>> 15) & 31;
  const double = (insn & 0x7000) === 0x3000;
  const stores = (insn & 0x20) !== 0;
  const imm = stores ? ((insn >> 25) << 5) | rd : insn >> 20;
  const low = halves[2 * rs1]! + imm;
  const vaddr = halves[2 * rs1 + 1]! * 0x1_0000_0000 + (halves[2 * rs1]! >>> 0) + imm;
  const at = core.paged
    ? core.mmu.tlb(core.dataMode, csr.mstatus).find(stores ? STORE : LOAD, vaddr, low)
    : vaddr - memory.base;
  const inRam = at >= 0 && at <= memory.lastLoad;
  if (stores) {
    const value = float.bits[(insn >>> 20) & 31]!;
    if (double && (at & 7) === 0 && at >= 0 && at <= memory.lastStore) {
      memory.i64[at >>> 3] = value;
      return NEXT;
    }
    if (!store(core, vaddr, double ? 8 : 4, value)) return fault(core, rs1, imm);
    // a device may have raised or dropped a line; page-table entries may have been written, too
    return inRam && !memory.journal ? NEXT : LOOK;
  }
  if (double && inRam && (at & 7) === 0) {
    float.bits[rd] = memory.i64[at >>> 3]!;
    csr.mstatus |= isa.MSTATUS_FS;
    return NEXT;
  }
  const value = load(core, vaddr, double ? 8 : 4);
  if (value === undefined) return fault(core, rs1, imm);
  float.write(double ? DOUBLE : SINGLE, rd, value);
  csr.mstatus |= isa.MSTATUS_FS;
  return (memory.journal || csr.counted) && !inRam ? LOOK : NEXT; // as in execute.ts
}

function fault(core: Core, rs1: number, imm: number): typeof TRAPPED {
  const vaddr = BigInt.asUintN(64, core.x[rs1]! + BigInt(imm + core.fault.offset));
  raise(core, core.fault.cause, vaddr, bitsOf(core.pc));
  return TRAPPED;
}
