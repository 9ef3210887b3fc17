/**
 * The shared memory of one IOMMU unit: register file, locks, invalidation log, and one cache line
 * per agent (a device worker behind the unit). The kernel works on it as the unit's MMIO side
 * (unit.ts). Each device worker works on it through its port (port.ts).
 */
import { atomic32, atomic32s, bytes, defineShared } from '../../platform/shared.ts';
import {
  CAP_AMO_MRIF,
  CAP_DBG,
  CAP_HI_WRITE_ONLY,
  CAP_IGS_BOTH,
  CAP_MSI_FLAT,
  CAP_MSI_MRIF,
  CAP_SV39,
  CAP_SV39X4,
  CAP_SV48,
  CAP_SV48X4,
  CAP_VERSION_1_0,
  REG,
} from './regs.ts';

/** Requests that the log holds. A port that lags behind by more forgets all it has cached. */
export const NR_INVALIDATIONS = 64;
/** Words of one request in the log (invalidation.ts). */
export const INVALIDATION_WORDS = 8;

export const Unit = defineShared('iommu unit', {
  generation: atomic32, // written by the holder of `commandLock`; publishes the log
  pad0: bytes(60),
  commandLock: atomic32, // guards cqb, cqh, cqt, cqcsr, ddtp and the log
  pad1: bytes(60),
  // guards fqb, fqh, fqt, fqcsr: taken by MMIO and by every port that has a fault to record
  faultLock: atomic32,
  recorded: atomic32, // fault records written
  discarded: atomic32, // fault records lost: queue off, full or not writable
  pad2: bytes(52),
  nrAgents: atomic32, // constant
  fenceTimeoutMs: atomic32, // constant
  pad3: bytes(56),
  // at 4 × index the register of that offset; pending MSIs see ipsr.ts
  registers: atomic32s(REG.end / 4),
  log: atomic32s(NR_INVALIDATIONS * INVALIDATION_WORDS),
});

export const Agent = defineShared('iommu agent', {
  epoch: atomic32, // see epoch.ts: added to by the agent, ATTENTION bit set by the unit
  waiters: atomic32, // fences add 1 while they sleep on `epoch`
});

const AGENTS_BASE = Unit.size / 4;
const AGENT_WORDS = Agent.size / 4;

/** Index of an agent's first word. */
export const agentBase = (agent: number): number => AGENTS_BASE + agent * AGENT_WORDS;

/** Index of the (low) word of the register at byte `offset`. */
export const registerWord = (offset: number): number => Unit.word.registers + offset / 4;

/** What a unit may do beyond the least, as far as its walks depend on it. */
export interface WalkAbilities {
  /** Leaves with W and without R mean something (CAP_HI_WRITE_ONLY). */
  readonly writeOnlyLeaves: boolean;
  /** MSI page tables lead to memory-resident interrupt files, too (CAP_MSI_MRIF). */
  readonly interruptFiles: boolean;
}

export const walkAbilities = (words: Int32Array): WalkAbilities => ({
  writeOnlyLeaves: (words[registerWord(REG.capabilities) + 1]! & CAP_HI_WRITE_ONLY) !== 0,
  interruptFiles: (words[registerWord(REG.capabilities)]! & CAP_MSI_MRIF) !== 0,
});

export interface UnitOptions {
  /** Most device workers behind the unit. */
  readonly agents: number;
  /** MSI page tables, and with them 64-byte device contexts; default true. */
  readonly msiFlat?: boolean;
  /** Memory-resident interrupt files behind MSI page tables; default: with these. */
  readonly interruptFiles?: boolean;
  /** Sv48 and Sv48x4 beside Sv39 and Sv39x4; default true. */
  readonly sv48?: boolean;
  /**
   * A custom extension (CAP_HI_WRITE_ONLY), for a kernel that tells WRITE from READ as VT-d does;
   * default false.
   */
  readonly writeOnlyLeaves?: boolean;
  /** How long an IOFENCE.C waits for device workers before it sets cqcsr.cmd_to; default 1000. */
  readonly fenceTimeoutMs?: number;
}

/** Bits of a physical address; the field holds the number itself (IOMMU spec §5.3). */
const PAS = 52;

/** A unit as it is after power-on: ddtp OFF, queues off. */
export function createUnit(options: UnitOptions): SharedArrayBuffer {
  const { msiFlat = true, interruptFiles = msiFlat } = options;
  const unit = new SharedArrayBuffer(Unit.size + options.agents * Agent.size);
  const words = new Int32Array(unit);
  words[Unit.word.nrAgents] = options.agents;
  words[Unit.word.fenceTimeoutMs] = options.fenceTimeoutMs ?? 1000;
  words[registerWord(REG.capabilities)] =
    CAP_VERSION_1_0 |
    CAP_SV39 |
    CAP_SV39X4 |
    (options.sv48 === false ? 0 : CAP_SV48 | CAP_SV48X4) |
    (msiFlat ? CAP_MSI_FLAT : 0) |
    (interruptFiles ? CAP_MSI_MRIF | CAP_AMO_MRIF : 0) |
    CAP_IGS_BOTH |
    CAP_DBG;
  words[registerWord(REG.capabilities) + 1] = PAS | (options.writeOnlyLeaves ? CAP_HI_WRITE_ONLY : 0);
  return unit;
}
