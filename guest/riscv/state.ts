import { einval } from '../../platform/errno.ts';
import type { Core } from './core.ts';

/**
 * What of a hart survives its process. A plain object: 64-bit registers are bigints, the rest numbers. The interrupt lines,
 * mtime and the interrupt file belong to the machine. An LR reservation is dropped: the SC fails and the guest tries again.
 */
export interface HartState {
  readonly version: 1;
  readonly pc: number;
  /** x1–x31, signed. */
  readonly x: readonly bigint[];
  readonly waiting: boolean;
  readonly mstatus: number;
  readonly mie: number;
  readonly mtvec: bigint;
  readonly mcounteren: number;
  readonly mscratch: bigint;
  readonly mepc: bigint;
  readonly mcause: bigint;
  readonly mtval: bigint;
  readonly miselect: number;
  readonly mcycle: bigint;
  readonly minstret: bigint;
}

export const HART_STATE_VERSION = 1;

export function saveHart(core: Core): HartState {
  const { csr } = core;
  return {
    version: HART_STATE_VERSION,
    pc: core.pc,
    x: Array.from(core.x.subarray(1)),
    waiting: core.waiting,
    mstatus: csr.mstatus,
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
  };
}

/** Loads a state into a core that has executed nothing. EINVAL: the state is of a version this build does not know. */
export function restoreHart(core: Core, state: HartState): void {
  if (state.version !== HART_STATE_VERSION || state.x.length !== 31) {
    throw einval(`hart state of version ${state.version}, this build knows ${HART_STATE_VERSION}`);
  }
  const { csr } = core;
  core.pc = state.pc;
  core.x.set(state.x, 1);
  core.waiting = state.waiting;
  core.reservation = undefined;
  csr.mstatus = state.mstatus;
  csr.mie = state.mie;
  csr.mtvec = state.mtvec;
  csr.mcounteren = state.mcounteren;
  csr.mscratch = state.mscratch;
  csr.mepc = state.mepc;
  csr.mcause = state.mcause;
  csr.mtval = state.mtval;
  csr.miselect = state.miselect;
  csr.begun = 0;
  csr.trapped = 0;
  csr.cycleOffset = state.mcycle;
  csr.instretOffset = state.minstret;
}
