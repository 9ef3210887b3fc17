import type { StoreJournal } from './environment.ts';
import type { HartState } from './state.ts';

/**
 * The reason why `run` returned. `budget`: as many instructions as allowed were executed. `wfi`:
 * the hart waits, and no interrupt is both pending and enabled; run it again when a line has
 * changed.
 */
export type StopReason = 'budget' | 'wfi';

/** The interface of a CPU engine. A faster engine than `Hart` can take its place here. */
export interface Engine {
  /** Executes at most `maxInstructions`; fewer if they take longer than some ms. */
  run(maxInstructions: number): StopReason;
  /**
   * The state after a reset (priv-isa §3.4), at `pc` with a0 and a1 as the boot protocol gives
   * them.
   */
  reset(pc: number, a0: bigint, a1: bigint): void;
  /**
   * From now on `journal` hears of each store to RAM before it is made; undefined: no journal. With
   * one the engine also returns to `run`'s caller after each access outside RAM.
   */
  journalTo(journal: StoreJournal | undefined): void;
  /**
   * The mtime from which on the hart's own timer (Sstc) would end a WFI; undefined if it would not.
   * The machine runs the hart again then.
   */
  deadline(): bigint | undefined;
  /** From here on the hart sees all that others have written: FENCE.I and SFENCE.VMA at once. */
  fence(): void;
  /**
   * Instructions begun since the last reset or restore. While `run` is under way it is exact only
   * for who is called by the hart, and only on a hart with a `horizon`.
   */
  readonly begun: number;
  save(): HartState;
  restore(state: HartState): void;
}
