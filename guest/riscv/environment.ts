/** What the machine around a hart gives it. */

/**
 * Access to everything that is not RAM. It is called once for each whole access, also for
 * misaligned ones; the machine decides what they mean.
 */
export interface Bus {
  /** The value, zero extended; undefined is an access fault. */
  load(gpa: number, size: 1 | 2 | 4 | 8): bigint | undefined;
  /** `value` is zero extended to `size`; false is an access fault. */
  store(gpa: number, size: 1 | 2 | 4 | 8, value: bigint): boolean;
}

/**
 * A journal of the stores to RAM, by which they can be undone if the process dies. `at` is an
 * offset in RAM. A store of 8 bytes is a pair of 32-bit halves, low half first; smaller ones have
 * no high half.
 */
export interface StoreJournal {
  /** Comes before each store to RAM, also one of an AMO or SC: `old` is there, `new` will be. */
  store(at: number, size: 1 | 2 | 4 | 8, oldLow: number, oldHigh: number, newLow: number, newHigh: number): void;
  /** The store that came last is not made: another thread has changed the memory. */
  withdraw(): void;
  /** Whether `run` must return, so that the journal can be emptied. */
  readonly closing: boolean;
  /** After so many instructions at most it is asked whether it closes. */
  readonly room: number;
}

/** What an IMSIC interrupt file gives the hart (AIA 1.0 §3.8, §3.9). */
export interface InterruptFile {
  /**
   * Reads a register: eidelivery 0x70, eithreshold 0x72, eip0… 0x80–0xbf, eie0… 0xc0–0xff. On RV64
   * the hart asks only for even eip and eie.
   */
  readRegister(select: number): bigint;
  writeRegister(select: number, value: bigint): void;
  /**
   * mtopei, stopei: identity << 16 | identity; 0 if nothing is pending, enabled and below the
   * threshold.
   */
  top(): number;
  /**
   * A write to mtopei or stopei: clears the pending bit of the top identity, and returns the former
   * value of `top`.
   */
  claim(): number;
}

/** Who answers semihosting calls (semihosting.ts). */
export interface Semihosting {
  /** Whether programs in U mode may call, too. */
  readonly userspace: boolean;
  /** Bytes that go with a call: names, what is written, what was read. */
  readonly data: Uint8Array;
  /** An operation on numbers and the first bytes of `data`; −1 has failed. */
  call(operation: number, a: number, b: number): number;
}

export interface HartOptions {
  readonly hartId: number;
  /** Guest RAM; its first byte is at gpa `ramBase`. */
  readonly ram: SharedArrayBuffer;
  readonly ramBase: number;
  /** Where in `ram` guest RAM begins, 8-byte aligned; 0 if not given. */
  readonly ramOffset?: number;
  /** Its bytes; if not given, it reaches to the end of the buffer. */
  readonly ramSize?: number;
  readonly bus: Bus;
  /** The interrupt file of M level. Without one the AIA CSRs do not exist. */
  readonly interruptFile?: InterruptFile;
  /** That of S level. Without one stopei does not exist, and sireg has no register of it. */
  readonly supervisorFile?: InterruptFile;
  /**
   * Interrupt lines as mip bits (MSIP 1<<3, MTIP 1<<7, SEIP 1<<9, MEIP 1<<11): levels that other
   * threads set with Atomics.or/and on lines[lineIndex].
   */
  readonly lines: Int32Array;
  readonly lineIndex: number;
  /**
   * A bit of the lines that is no interrupt: while it is set, a run ends at the next look at the
   * lines. Without it nothing ends a run so.
   */
  readonly attention?: number;
  /** Called before each look at the lines: it may change them. */
  readonly poll?: () => void;
  /** Called before each look at the lines while mie.MTIE is set: it drives MTIP. */
  readonly timer?: () => void;
  /**
   * There if time is counted by instructions (`Engine.begun`): how many may be executed until the
   * next look at the lines; 0 ends the run. It is asked at each look. Whoever asks for the time
   * during an instruction finds all instructions before it counted.
   */
  readonly horizon?: () => number;
  /** Who answers semihosting calls; without it there are none. */
  readonly semihosting?: Semihosting | undefined;
  /** mtime, for the `time` CSR. */
  time(): bigint;
}
