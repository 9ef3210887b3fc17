import { defineSection, type StateOf } from '../../platform/section.ts';
import { big, flag, integer, list, object } from '../../platform/shape.ts';
import type { Core } from './core.ts';

/**
 * The part of a hart that survives its process. 64-bit registers are bigints, the rest numbers. The
 * interrupt lines, mtime and the interrupt file belong to the machine. An LR reservation is not
 * saved: the SC fails and the guest tries again.
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
    ...saveFloat(core),
  };
}

function saveFloat({ float }: Core): Pick<HartState, 'float'> {
  const { bits, flags, frm } = float;
  if (flags === 0 && frm === 0 && bits.every((each) => each === 0n)) return {};
  return { float: { f: Array.from(bits), fflags: flags, frm } };
}

/** Loads a state into a core that has executed nothing. */
export function restoreHart(core: Core, state: HartState): void {
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
  core.float.bits.set(state.float?.f ?? []);
  core.float.flags = state.float?.fflags ?? 0;
  core.float.frm = state.float?.frm ?? 0;
  csr.begun = 0;
  csr.trapped = 0;
  csr.cycleOffset = state.mcycle;
  csr.instretOffset = state.minstret;
}
