/** The input of the hashing thread. The thread answers with the digest (hex) and ends. */
export interface RamHashInput {
  readonly buffer: SharedArrayBuffer;
  readonly length: number;
}
