import type { HartState } from './state.ts';

/**
 * Why `run` came back. `budget`: as many instructions as allowed were executed. `wfi`: the hart
 * waits and no interrupt is both pending and enabled; run again when a line has changed.
 */
export type StopReason = 'budget' | 'wfi';

/** The seam at which a faster engine replaces `Hart`. */
export interface Engine {
  /** Executes at most `maxInstructions`. */
  run(maxInstructions: number): StopReason;
  /**
   * The state after a reset (priv-isa §3.4), at `pc` with a0 and a1 as the boot protocol gives
   * them.
   */
  reset(pc: number, a0: bigint, a1: bigint): void;
  save(): HartState;
  restore(state: HartState): void;
}
