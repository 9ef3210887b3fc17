import { defineSection, type StateOf } from '../../platform/section.ts';
import { big, flag, integer, list, object, oneOf } from '../../platform/shape.ts';
import type { Core } from './core.ts';
import type { ControlStatus } from './csr.ts';
import { ENVCFG_ADUE, MODE_M, MPP_SHIFT, MSTATUS_MPP } from './isa.ts';

/**
 * The part of a hart that survives its process. 64-bit registers are bigints, the rest numbers. The
 * interrupt lines, mtime and the interrupt file belong to the machine. An LR reservation is saved
 * only where time is counted by instructions. Elsewhere the SC fails and the guest tries again.
 *
 * The optional fields hold what a hart of 0.1.0 did not have. Each is written only if it is not as
 * after a reset, so 0.1.0 can still take a guest that uses none of it.
 */
export const HART_SECTION = defineSection(
  'hart',
  1,
  {
    pc: integer,
    /** x1–x31, signed. */
    x: list(big, 31),
    waiting: flag,
    /** Without MPP. */
    mstatus: integer,
    mie: integer,
    mtvec: big,
    mcounteren: integer,
    mscratch: big,
    mepc: big,
    mcause: big,
    mtval: big,
    miselect: integer,
    mcycle: big,
    minstret: big,
  },
  {
    /** f0–f31, signed, and fcsr. */
    float: object({ f: list(big, 32), fflags: integer, frm: integer }),
    /** The mode, and the CSRs of more modes than M. */
    privileged: object({
      mode: integer,
      mpp: integer,
      medeleg: integer,
      mideleg: integer,
      pending: integer,
      menvcfg: big,
      stvec: big,
      scounteren: integer,
      senvcfg: big,
      sscratch: big,
      sepc: big,
      scause: big,
      stval: big,
      siselect: integer,
      satp: big,
      stimecmp: big,
    }),
    pmp: object({ config: list(integer, 16), address: list(big, 16) }),
    /** That of LR, signed; only of a hart whose run must be the same with and without a save. */
    reservation: object({ gpa: integer, size: oneOf(4, 8), value: big }),
  },
);

export type HartState = StateOf<typeof HART_SECTION>;

export function saveHart(core: Core): HartState {
  const { csr } = core;
  return {
    version: 1,
    pc: core.pc,
    x: Array.from(core.x.subarray(1)),
    waiting: core.waiting,
    mstatus: csr.mstatus & ~MSTATUS_MPP,
    mie: csr.mie,
    mtvec: csr.mtvec,
    mcounteren: csr.mcounteren,
    mscratch: csr.mscratch,
    mepc: csr.mepc,
    mcause: csr.mcause,
    mtval: csr.mtval,
    miselect: csr.miselect,
    mcycle: csr.mcycle(),
    minstret: csr.minstret(),
    ...saveFloat(core),
    ...savePrivileged(csr),
    ...savePmp(csr),
    ...(csr.counted && core.reservation ? { reservation: core.reservation } : {}),
  };
}

function saveFloat({ float }: Core): Pick<HartState, 'float'> {
  const { bits, flags, frm } = float;
  if (flags === 0 && frm === 0 && bits.every((each) => each === 0n)) return {};
  return { float: { f: Array.from(bits), fflags: flags, frm } };
}

/** After a reset; MPP is what it always is on a hart of M mode only. */
export const PRIVILEGED: NonNullable<HartState['privileged']> = {
  mode: MODE_M,
  mpp: MODE_M,
  medeleg: 0,
  mideleg: 0,
  pending: 0,
  menvcfg: ENVCFG_ADUE,
  stvec: 0n,
  scounteren: 0,
  senvcfg: 0n,
  sscratch: 0n,
  sepc: 0n,
  scause: 0n,
  stval: 0n,
  siselect: 0,
  satp: 0n,
  stimecmp: 0n,
};

function savePrivileged(csr: ControlStatus): Pick<HartState, 'privileged'> {
  const { mode, medeleg, mideleg, softPending: pending, menvcfg, stvec, scounteren, senvcfg, sscratch } = csr;
  const { sepc, scause, stval, siselect, satp, stimecmp } = csr;
  const environment = { menvcfg, senvcfg, scounteren, satp, stimecmp };
  const traps = { medeleg, mideleg, pending, stvec, sscratch, sepc, scause, stval, siselect };
  const privileged = { mode, mpp: csr.mpp(), ...environment, ...traps };
  const reset = Object.entries(PRIVILEGED).every(
    ([name, value]) => privileged[name as keyof typeof PRIVILEGED] === value,
  );
  return reset ? {} : { privileged };
}

function savePmp({ pmp }: ControlStatus): Pick<HartState, 'pmp'> {
  const saved = pmp.save();
  return saved.config.some((each) => each !== 0) || saved.address.some((each) => each !== 0n) ? { pmp: saved } : {};
}

/** Loads a state into a core that has executed nothing. */
export function restoreHart(core: Core, state: HartState): void {
  const { csr } = core;
  core.pc = state.pc;
  core.x.set(state.x, 1);
  core.waiting = state.waiting;
  core.reservation = state.reservation;
  const { mpp, pending, ...privileged } = state.privileged ?? PRIVILEGED;
  Object.assign(csr, privileged);
  csr.softPending = pending;
  csr.mstatus = state.mstatus | (mpp << MPP_SHIFT);
  if (state.pmp) csr.pmp.restore(state.pmp.config, state.pmp.address);
  csr.mie = state.mie;
  csr.mtvec = state.mtvec;
  csr.mcounteren = state.mcounteren;
  csr.mscratch = state.mscratch;
  csr.mepc = state.mepc;
  csr.mcause = state.mcause;
  csr.mtval = state.mtval;
  csr.miselect = state.miselect;
  core.float.bits.set(state.float?.f ?? []);
  core.float.flags = state.float?.fflags ?? 0;
  core.float.frm = state.float?.frm ?? 0;
  csr.begun = 0;
  csr.trapped = 0;
  csr.cycleOffset = state.mcycle;
  csr.instretOffset = state.minstret;
}
