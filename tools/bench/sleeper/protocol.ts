/** Messages between the bench and the thread that sleeps in the kernel. */

export interface SleeperInput {
  readonly socketPath: string;
  /** A kvemu device, opened by another thread. */
  readonly device: number;
}

/** To the thread: read one byte at this iova. */
export interface SleeperRequest {
  readonly iova: number;
}

/** From the thread: when its read returned, by the process' monotonic clock. */
export interface SleeperAnswer {
  readonly wokenMs: number;
}
