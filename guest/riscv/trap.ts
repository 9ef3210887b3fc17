import { addressOf, bitsOf } from './address.ts';
import type { Core } from './core.ts';
import type { ControlStatus } from './csr.ts';
import * as isa from './isa.ts';
import { isExact } from './memory.ts';

const INTERRUPT = 1n << 63n;

/** Of a trap: what the handler finds in xcause, xtval and xepc. */
interface Trap {
  readonly cause: number;
  readonly interrupt: boolean;
  readonly tval: bigint;
  readonly epc: bigint;
}

/**
 * Trap entry (priv-isa §3.1.6.1, §3.1.7, §3.1.14–16, §10.1). It goes to M mode, or to S mode where
 * medeleg or mideleg says so and the trap does not come from M mode (§3.1.8).
 */
function enter(core: Core, trap: Trap): void {
  const { csr } = core;
  const delegated = ((trap.interrupt ? csr.mideleg : csr.medeleg) >>> trap.cause) & 1;
  const cause = trap.interrupt ? INTERRUPT | BigInt(trap.cause) : BigInt(trap.cause);
  if (delegated && csr.mode !== isa.MODE_M) {
    csr.sepc = trap.epc;
    csr.scause = cause;
    csr.stval = trap.tval;
    let status = csr.mstatus & ~(isa.MSTATUS_SPP | isa.MSTATUS_SPIE | isa.MSTATUS_SIE);
    if (csr.mstatus & isa.MSTATUS_SIE) status |= isa.MSTATUS_SPIE;
    if (csr.mode === isa.MODE_S) status |= isa.MSTATUS_SPP;
    csr.mstatus = status;
    csr.mode = isa.MODE_S;
    core.pc = vector(csr.stvec, trap);
  } else {
    csr.mepc = trap.epc;
    csr.mcause = cause;
    csr.mtval = trap.tval;
    let status = csr.mstatus & ~(isa.MSTATUS_MPP | isa.MSTATUS_MPIE | isa.MSTATUS_MIE);
    if (csr.mstatus & isa.MSTATUS_MIE) status |= isa.MSTATUS_MPIE;
    csr.mstatus = status | (csr.mode << isa.MPP_SHIFT);
    csr.mode = isa.MODE_M;
    core.pc = vector(csr.mtvec, trap);
  }
  core.waiting = false;
  // a trap may end a reservation; this keeps an SC of other code from using it
  core.reservation = undefined;
}

/** A vectored xtvec sends interrupts to base + 4 × cause. */
function vector(xtvec: bigint, { cause, interrupt }: Trap): number {
  const base = addressOf(xtvec); // its mode, in bit 0, is 0 or 1 (csr-table.ts)
  const mode = base & 1;
  return mode === 1 && interrupt ? base - mode + 4 * cause : base - mode;
}

/** A synchronous exception of the instruction at `epc`, which does not retire. */
export function raise(core: Core, cause: number, tval: bigint, epc: bigint): void {
  core.csr.trapped++;
  enter(core, { cause, interrupt: false, tval, epc });
}

/**
 * Jumps to any 64-bit target. If the target is no address at all, the fault of its first fetch is
 * raised here.
 */
export function jump(core: Core, target: bigint): void {
  const pc = addressOf(target);
  if (isExact(pc)) {
    core.pc = pc;
    return;
  }
  const translated = core.csr.mode !== isa.MODE_M && core.csr.satp >> isa.SATP_MODE_SHIFT !== 0n;
  const cause = translated ? isa.CAUSE_FETCH_PAGE : isa.CAUSE_FETCH_ACCESS;
  enter(core, { cause, interrupt: false, tval: target, epc: target });
}

/** MRET (priv-isa §3.1.6.1, §3.3.2). */
export function returnFromMachine(core: Core): void {
  const { csr } = core;
  const mode = csr.mpp();
  let status = (csr.mstatus & ~(isa.MSTATUS_MIE | isa.MSTATUS_MPP)) | isa.MSTATUS_MPIE;
  if (csr.mstatus & isa.MSTATUS_MPIE) status |= isa.MSTATUS_MIE;
  enterMode(csr, mode, status);
  jump(core, csr.mepc);
}

/** SRET. */
export function returnFromSupervisor(core: Core): void {
  const { csr } = core;
  const mode = csr.mstatus & isa.MSTATUS_SPP ? isa.MODE_S : isa.MODE_U;
  let status = (csr.mstatus & ~(isa.MSTATUS_SIE | isa.MSTATUS_SPP)) | isa.MSTATUS_SPIE;
  if (csr.mstatus & isa.MSTATUS_SPIE) status |= isa.MSTATUS_SIE;
  enterMode(csr, mode, status);
  jump(core, csr.sepc);
}

/** xPP has become U, the least privileged mode; MPRV ends outside M mode. */
function enterMode(csr: ControlStatus, mode: number, status: number): void {
  csr.mode = mode;
  csr.mstatus = mode === isa.MODE_M ? status : status & ~isa.MSTATUS_MPRV;
}

/**
 * Ends a WFI if an interrupt is pending and enabled in mie, whatever the global enables say
 * (priv-isa §3.3.3), and takes the one of highest priority if they allow it (§3.1.9, §10.1.3).
 */
export function takeInterrupt(core: Core): void {
  const { csr } = core;
  const pending = csr.mip() & csr.mie;
  if (pending === 0) return;
  core.waiting = false;
  const { mode, mstatus, mideleg } = csr;
  const toMachine = mode < isa.MODE_M || mstatus & isa.MSTATUS_MIE ? pending & ~mideleg : 0;
  const toSupervisor = mode < isa.MODE_S || (mode === isa.MODE_S && mstatus & isa.MSTATUS_SIE) ? pending & mideleg : 0;
  const taken = toMachine || toSupervisor; // those for M mode first
  if (taken === 0) return;
  const irq = isa.IRQ_PRIORITY.find((candidate) => taken & (1 << candidate))!;
  enter(core, { cause: irq, interrupt: true, tval: 0n, epc: bitsOf(core.pc) });
}
