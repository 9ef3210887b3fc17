/** Which of the harts at home runs next, and how far. */
import type { StopReason } from '../../../guest/riscv/engine.ts';
import type { HartLocal } from '../../machine/hart-local/hart-local.ts';

/** A hart runs so far, or until it waits. */
export interface Slice {
  readonly hart: HartLocal;
  readonly instructions: number;
  /** Whether devices look at the world outside before it. */
  readonly looks: boolean;
}

export interface Turns {
  /** Whether harts at home have begun to wait, one after the other. */
  readonly someWait: boolean;
  /**
   * The next slice. Harts are lent and recalled as is wanted before it: none is away if
   * `mayPublish`.
   */
  next(mayPublish: boolean): Slice;
  /** Runs a slice. */
  run(slice: Slice): StopReason;
  /**
   * The slice that has run last had this end. `tookNs`: how long it took, if that says something.
   * True: all harts at home wait.
   */
  ended(reason: StopReason, tookNs: number | undefined): boolean;
  /**
   * While all wait: true if time has jumped to what comes next, so that the guest goes on at once.
   */
  jump(): boolean;
  /** While all wait: real time passes from now until `next` or `rest`. */
  waits(): void;
  /** While all wait: milliseconds until something comes by itself; undefined: nothing does. */
  dueMs(): number | undefined;
  /** The guest stops here. */
  rest(): void;
}
