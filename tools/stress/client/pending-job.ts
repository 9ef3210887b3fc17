/**
 * A sleeping job of mscribe, as it is passed across an exec. The places are byte offsets in the
 * guarded memory.
 */
export interface PendingJob {
  readonly ringAt: number;
  readonly sourceAt: number;
  readonly destinationAt: number;
  readonly length: number;
}
