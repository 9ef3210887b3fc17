/** What survives an exec of a job of mscribe that sleeps: bytes of the guarded memory. */
export interface PendingJob {
  readonly ringAt: number;
  readonly sourceAt: number;
  readonly destinationAt: number;
  readonly length: number;
}
