/**
 * Random bytes. node:crypto is loaded at the first call: it is 0.2 of 7.4 MB of the
 * snapshot that an image starts from, and few guests ask for entropy.
 */
export const fillRandom = <T extends Uint8Array | Uint32Array>(bytes: T): T =>
  process.getBuiltinModule('node:crypto').randomFillSync(bytes);
