/** The part of a function that sends messages: its MSI or its MSI-X capability. */

export interface MessageHardware {
  /**
   * MSI: `nrVectors` vectors want a block of that many numbers, a power of two, and it begins at a
   * multiple of its size. MSI-X: undefined, any numbers will do.
   */
  blockFor(nrVectors: number): number | undefined;
  /** Whether the function can store to this iova. */
  reaches(iova: number): boolean;
  /** From now on vector i stores numbers[i] at `iova`. Vectors with a mask are masked. */
  enable(iova: number, numbers: readonly number[]): void;
  /** One more vector, masked. Only MSI-X can have it. */
  add(vector: number, iova: number, number: number): void;
  /** Messages of the vector pend in the function. No effect where there are no masks. */
  mask(vector: number): void;
  /** The vector sends what pends, and what comes. */
  unmask(vector: number): void;
  /** Nothing is sent any more. */
  disable(): void;
  /** The function was reset while it was enabled; its vectors have these numbers. */
  restore(iova: number, numbers: readonly (number | undefined)[]): void;
  /** What an earlier kernel has left enabled: the number of each vector. Undefined: nothing. */
  sends(): readonly (number | undefined)[] | undefined;
}
