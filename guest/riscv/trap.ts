import type { Core } from './core.ts';
import { CAUSE_FETCH_ACCESS, IRQ_PRIORITY, MSTATUS_FS, MSTATUS_MIE, MSTATUS_MPIE } from './isa.ts';
import { isExact } from './memory.ts';

const INTERRUPT = 1n << 63n;

/** The pc as the 64-bit value that software sees. */
export const pcValue = (pc: number): bigint => BigInt.asUintN(64, BigInt(pc));

/**
 * Trap entry (priv-isa §3.1.6.1, §3.1.7, §3.1.14–16). A vectored mtvec sends interrupts to base + 4
 * × cause.
 */
function enter(core: Core, cause: bigint, mtval: bigint, mepc: bigint): void {
  const { csr } = core;
  csr.mepc = mepc;
  csr.mcause = cause;
  csr.mtval = mtval;
  csr.mstatus = (csr.mstatus & MSTATUS_FS) | (csr.mstatus & MSTATUS_MIE ? MSTATUS_MPIE : 0); // MPIE ← MIE, MIE ← 0
  const vectored = (csr.mtvec & 1n) === 1n && cause >= INTERRUPT;
  const offset = vectored ? 4n * (cause - INTERRUPT) : 0n;
  core.pc = Number((csr.mtvec & ~3n) + offset);
  core.waiting = false;
  // a trap may end a reservation; this keeps an SC of other code from using it
  core.reservation = undefined;
}

/** A synchronous exception of the instruction at `mepc`, which does not retire. */
export function raise(core: Core, cause: number, mtval: bigint, mepc: bigint): void {
  core.csr.trapped++;
  enter(core, BigInt(cause), mtval, mepc);
}

/**
 * Jumps to any 64-bit target. If the target is no address at all, the fetch access fault of its
 * first instruction is raised here.
 */
export function jump(core: Core, target: bigint): void {
  const pc = Number(BigInt.asIntN(64, target));
  if (isExact(pc)) core.pc = pc;
  else enter(core, BigInt(CAUSE_FETCH_ACCESS), target, target);
}

/** MRET (priv-isa §3.3.2): MIE ← MPIE, MPIE ← 1, pc ← mepc; MPP can only be M. */
export function returnFromTrap(core: Core): void {
  const { csr } = core;
  csr.mstatus = (csr.mstatus & MSTATUS_FS) | MSTATUS_MPIE | (csr.mstatus & MSTATUS_MPIE ? MSTATUS_MIE : 0);
  jump(core, csr.mepc);
}

/**
 * Ends a WFI if an interrupt is pending and enabled in mie, whatever mstatus.MIE says (priv-isa
 * §3.3.3), and takes the one of highest priority if mstatus.MIE allows it (§3.1.9).
 */
export function takeInterrupt(core: Core): void {
  const { csr } = core;
  const pending = csr.mip() & csr.mie;
  if (pending === 0) return;
  core.waiting = false;
  if ((csr.mstatus & MSTATUS_MIE) === 0) return;
  const irq = IRQ_PRIORITY.find((candidate) => pending & (1 << candidate))!;
  enter(core, INTERRUPT | BigInt(irq), 0n, pcValue(core.pc));
}
