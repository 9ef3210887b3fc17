/**
 * Random bytes. node:crypto is loaded at the first call: it is 0.2 of 7.4 MB of the
 * snapshot that an image starts from, and few guests ask for entropy.
 */
export const fillRandom = <T extends Uint8Array | Uint32Array>(bytes: T): T =>
  process.getBuiltinModule('node:crypto').randomFillSync(bytes);

/** Bytes that follow from `seed` and look random: the same ones for the same seed (SHAKE256). */
export const derivedBytes = (seed: string, length: number): Uint8Array =>
  process.getBuiltinModule('node:crypto').createHash('shake256', { outputLength: length }).update(seed).digest();
