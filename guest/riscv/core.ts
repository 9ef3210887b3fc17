import type { ControlStatus } from './csr.ts';
import type { Memory } from './memory.ts';

/** What LR leaves behind for SC (unpriv-isa §14.2). */
export interface Reservation {
  readonly gpa: number;
  readonly size: 4 | 8;
  readonly value: bigint;
}

/** The state of one hart that instructions read and write. No behaviour but access to registers. */
export class Core {
  /** x0–x31. x0 is written like any other and zeroed before the next instruction reads it. */
  readonly x = new BigInt64Array(32);
  /**
   * The same registers as pairs of 32-bit halves, low half first: 32-bit results and address
   * arithmetic need no bigint.
   */
  readonly halves = new Int32Array(this.x.buffer);
  /**
   * Always an exact, even number. A jump to a target that a number cannot hold (≥ 2^53) raises its
   * fetch access fault at once, so that no such pc is ever reached.
   */
  pc = 0;
  reservation: Reservation | undefined;
  /** A WFI has been executed and nothing has ended it. */
  waiting = false;
  readonly csr: ControlStatus;
  readonly memory: Memory;

  constructor(csr: ControlStatus, memory: Memory) {
    this.csr = csr;
    this.memory = memory;
  }
}
