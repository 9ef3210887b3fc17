/** A machine whose clock stands still. */
import type { PackedSections } from '../../../platform/packed-sections.ts';
import type { MachineState } from '../../machine/machine.ts';

/** As its vCPU has it. */
export interface Suspended {
  /** The last instruction was executed before this time. */
  readonly atNs: number;
  readonly state: MachineState;
}

/** As main has it from the vCPU's thread. */
export interface StoppedMachine {
  /** As Suspended. */
  readonly atNs: number;
  /** Its sections, if they are packed already. */
  readonly packed?: PackedSections;
  state(): MachineState;
}
