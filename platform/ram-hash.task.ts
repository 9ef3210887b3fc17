/** Piscina task: SHA-256 of one slice of shared memory. Started by ram-hash.ts only. */
import { createHash } from 'node:crypto';

export interface HashSlice {
  readonly buffer: SharedArrayBuffer;
  /** [offset, offset + length) of the buffer. */
  readonly offset: number;
  readonly length: number;
}

export default function hashSlice({ buffer, offset, length }: HashSlice): string {
  return createHash('sha256')
    .update(new Uint8Array(buffer, offset, length))
    .digest('hex');
}
