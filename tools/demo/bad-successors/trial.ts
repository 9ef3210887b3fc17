/** One row of the matrix: an update to a successor that may be bad, and what then was seen. */
import type { UpdateTarget } from '../../clients/live-update.ts';
import type { Machine, MachineOptions } from '../../launch/machine.ts';

/** What became of an update. */
export type Outcome =
  /** The guest never stopped. */
  | 'refused'
  /** The guest stopped, and runs in the old image. */
  | 'rolled back'
  /** The guest runs in the new image. */
  | 'completed'
  /** The VMM ended in good order, and said why. */
  | 'ended'
  /** None of these. */
  | 'lost';

export interface Trial {
  /** What the successor does, or what happens to it. */
  readonly name: string;
  readonly expected: readonly Outcome[];
  /** What the user must be told, if the update does not complete. */
  readonly says?: RegExp;
  /** Makes the successor, in an empty folder of its own. */
  readonly target?: (folder: string) => UpdateTarget;
  /**
   * The trial needs a machine of its own, which is stopped afterwards: it ends the host or resets
   * the guest. What it has that the usual one has not.
   */
  readonly own?: Pick<Partial<MachineOptions>, 'devices' | 'vmmOptions' | 'under'>;
  /** Whether the guest begins anew during the trial, and counts from 0. */
  readonly resets?: boolean;
  /** Done right before the update is asked for. */
  readonly before?: (machine: Machine) => Promise<void>;
  /** Done when the VMM has stopped the guest; the rejection of a second update is given back. */
  readonly stopped?: (machine: Machine) => void;
  /** Done when the guest runs again; `before` ran it before the update. */
  readonly resumed?: (machine: Machine, before: Runner) => void;
  /** Done right after the update has been asked for; returns a line that the verdict looks at. */
  readonly meanwhile?: (machine: Machine) => Promise<string>;
  readonly meanwhileSays?: RegExp;
  /** Done when the update has ended, before the guest's heart is looked at. */
  readonly after?: (machine: Machine) => Promise<void>;
}

/** Who runs the guest. */
export interface Runner {
  readonly pid: number;
  /** The program's file. */
  readonly image: string;
  readonly generation: number;
}

export interface GuestHealth {
  readonly heartbeats: number;
  readonly framesLost: number;
  /** Frames, copies, factorials and DMA round trips that came out wrong. */
  readonly wrong: number;
  readonly interruptsLost: number;
}

export interface TrialFacts {
  readonly name: string;
  readonly expected: readonly Outcome[];
  readonly outcome: Outcome;
  /** What the user was told when the update did not complete. */
  readonly said: string | null;
  /** Whether that is what it must be. */
  readonly saidRight: boolean;
  readonly before: Runner;
  readonly after: Runner | null;
  /**
   * The part of the pause that the VMM's events show, at their reader; null: the guest never
   * stopped.
   */
  readonly stoodMs: number | null;
  /** From the new image's last instruction to the guest's next, as the new image tells it. */
  readonly pauseMs: number | null;
  /** From the guardian's notice of the failure to the guest's next instruction. */
  readonly rollbackMs: number | null;
  readonly tookMs: number;
  readonly guestBefore: GuestHealth;
  readonly guestAfter: GuestHealth | null;
}
