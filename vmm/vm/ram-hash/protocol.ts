/** What the hashing thread is given. It answers with the digest (hex) and ends. */
export interface RamHashInput {
  readonly buffer: SharedArrayBuffer;
  readonly length: number;
}
